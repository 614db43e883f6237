"""Several frames through an identity's network at once: what it saves, and what becomes of the bits.

    python tests/bench/batching.py [--device cuda] [--most 8]

For each network and batch: milliseconds a frame, whether a frame comes out as it does alone, bit for bit, and
whether its bits depend on which other frames are drawn with it, the batch being as large.
"""

import argparse
import time

import torch
from torch import Tensor, nn

from mien.models.swap import CLASSIC, SwapNetwork, SwapShape
from mien.models.unet import PairedNetwork, PairedShape
from mien.trained import half

NETWORKS: dict[str, tuple[nn.Module, int]] = {
    "classic 64": (SwapNetwork(CLASSIC, both=False), 64),
    "df 64": (SwapNetwork(SwapShape("df", 64, 32, 24, 8, 128), both=False), 64),
    "df 128": (SwapNetwork(SwapShape("df", 128), both=False), 128),
    "liae 128": (SwapNetwork(SwapShape("liae", 128), both=False), 128),
    "df 256": (SwapNetwork(SwapShape("df", 256), both=False), 256),
    "paired 256": (PairedNetwork(PairedShape()), 256),
}


def drawn(network: nn.Module, crops: Tensor) -> Tensor:
    with half(crops.device):
        made = network(crops.contiguous(memory_format=torch.channels_last))
    return (torch.cat(list(made), 1) if isinstance(made, tuple) else made).float()


def milliseconds(network: nn.Module, crops: Tensor) -> float:
    """The least of three runs for one frame of a batch; the processor's time, on a graphics card the clock's."""
    clock = time.perf_counter if crops.is_cuda else time.process_time
    spent = []
    for _ in range(4):
        begun = clock()
        drawn(network, crops)
        if crops.is_cuda:
            torch.cuda.synchronize()
        spent.append(clock() - begun)
    return min(spent[1:]) * 1000 / len(crops)


@torch.inference_mode()
def compare(name: str, network: nn.Module, size: int, device: torch.device, most: int) -> None:
    network = network.to(device, memory_format=torch.channels_last).eval()
    generator = torch.Generator().manual_seed(1)
    crops, others = (torch.rand(most, 3, size, size, generator=generator).to(device) for _ in range(2))
    alone = torch.cat([drawn(network, crop[None]) for crop in crops])
    batch = 1
    while batch <= most:
        together = drawn(network, crops[:batch])
        apart = float((together - alone[:batch]).abs().max())
        seats = []
        for seat in range(batch):
            mixed = others[:batch].clone()
            mixed[seat] = crops[seat]
            seats.append(torch.equal(drawn(network, mixed)[seat], together[seat]))
        told = "alike" if apart == 0 else f"{apart:.0e}"
        spent = milliseconds(network, crops[:batch])
        print(f"{name:12}{batch:6}{spent:10.1f}{told:>10}{all(seats)!s:>8}", flush=True)
        batch *= 2


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--most", type=int, default=8)
    parser.add_argument("--only", default="")
    asked = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    print(f"{'network':12}{'batch':>6}{'ms/frame':>10}{'alone':>10}{'seat':>8}")
    for name, (network, size) in NETWORKS.items():
        if asked.only in name:
            compare(name, network, size, torch.device(asked.device), asked.most)
