"""Spoil files through a night: coverage-guided where atheris is there, by chance alone where it is not.

    python tests/fuzz/night.py --runs 1000000 --found FOLDER

One process at a time, each reader in turn; ``--chance`` leaves libFuzzer out, which is several times as fast where
time is short. What crashes, hangs for more than 10 seconds or takes more memory than a
file may is kept in FOLDER, with the trace; the exit code is 1 then. A file that was found goes into ``corpus/READER``
once it is mended.
"""

import argparse
import faulthandler
import gc
import hashlib
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

HANG = 10.0
"""Seconds within which a file is read or refused."""
BUDGET = 512 << 20
"""Bytes that reading one spoiled file may take beyond what the process held before."""
SPACE = 6 << 30
"""Bytes of addresses that the whole process may have."""
SOURCES = Path(__file__).parents[2]


def read_one(reader: Any, path: Path, content: bytes, ours: tuple[type[Exception], ...]) -> str:
    """How reading ended: ``read``, ``refused``; else what is wrong with the reader."""
    path.write_bytes(content)
    began, held = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        reader.read(path)
        ended = "read"
    except ours as error:
        ended = "refused"
        if not str(error) or len(str(error)) > 3000:
            ended = f"an error of {len(str(error))} characters"
    except Exception as error:  # noqa: BLE001  whatever comes is what is looked for
        place = traceback.extract_tb(error.__traceback__)[-1]
        mine = [frame for frame in traceback.extract_tb(error.__traceback__) if "/engine/mien/" in frame.filename]
        at = mine[-1] if mine else place
        ended = f"{type(error).__name__} in {Path(at.filename).name}:{at.lineno} ({Path(place.filename).name})"
    took = time.monotonic() - began
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - held) << 10
    if took > HANG:
        return f"{took:.0f} s"
    if grown > BUDGET:
        return f"{grown >> 20} MiB"
    return ended


def fuzz(name: str, runs: int, seed: int, found: Path, folder: Path, atheris: Any) -> bool:
    """Spoil the files of one reader ``runs`` times; prints what came of it, and says whether all went well."""
    if atheris is not None:
        with atheris.instrument_imports(include=["mien"]):
            import mien.commands.cut
            import mien.commands.importing
            import mien.credentials
            import mien.farm.mapping
            import mien.inspection
            import mien.serve.requests  # noqa: F401
    import torch

    from fuzz.readers import OURS, READERS

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    reader = READERS[name]
    paths = reader.seeds(folder)
    wholes = [(path, path.read_bytes()) for path in paths]
    # Where a whole folder is read, only the spoiled file lies in it.
    for path in paths[1:]:
        path.unlink()
    for path, content in wholes:
        assert read_one(reader, path, content, OURS) == "read", f"{name}: {path.name} is not whole"
        path.unlink()
    resource.setrlimit(resource.RLIMIT_AS, (SPACE, SPACE))
    counts: Counter[str] = Counter()
    gc.collect()
    gc.freeze()
    began = time.process_time()

    def one(content: bytes, path: Path) -> None:
        # What a file costs is not to be the garbage of hundreds before it: decoders wait for their collection.
        gc.collect()
        ended = read_one(reader, path, content, OURS)
        path.unlink(missing_ok=True)
        if ended not in ("read", "refused") and not counts[ended]:
            kept = found / name / f"{hashlib.sha256(content).hexdigest()[:12]}{path.suffix}"
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_bytes(content)
            (found / name / f"{kept.stem}.txt").write_text(f"{ended}\n")
        counts[ended] += 1

        if counts.total() == runs:
            took = round(time.process_time() - began, 1)
            print(json.dumps({"reader": name, "runs": runs, "seconds": took, **counts}), flush=True)
            if atheris is not None:
                # libFuzzer never returns.
                os._exit(0)

    if atheris is None:
        _by_chance(reader.spoil, wholes, runs, seed, one)
    else:
        _guided(atheris, reader.spoil, wholes, seed, one, found / name)
    return not set(counts) - {"read", "refused"}


def _by_chance(
    spoil: Callable[[bytes, random.Random], bytes],
    wholes: list[tuple[Path, bytes]],
    runs: int,
    seed: int,
    one: Callable[[bytes, Path], None],
) -> None:
    chance = random.Random(seed)
    for _ in range(runs):
        path, content = chance.choice(wholes)
        faulthandler.dump_traceback_later(2 * HANG, exit=True)
        one(spoil(content, chance), path)
    faulthandler.cancel_dump_traceback_later()


def _guided(
    atheris: Any,
    spoil: Callable[[bytes, random.Random], bytes],
    wholes: list[tuple[Path, bytes]],
    seed: int,
    one: Callable[[bytes, Path], None],
    found: Path,
) -> None:
    """The first byte of what libFuzzer keeps says whose whole file it comes from: endings choose the reader."""

    def mutate(data: bytes, most: int, number: int) -> bytes:
        chance = random.Random(number)
        row = data[0] % len(wholes) if data else 0
        inner = data[1:]
        if not inner or chance.random() < 0.1:
            row = chance.randrange(len(wholes))
            inner = wholes[row][1]
        inner = atheris.Mutate(inner, most - 1) if chance.random() < 0.3 else spoil(inner, chance)
        return (bytes([row]) + bytes(inner))[:most]

    def test(data: bytes) -> None:
        if len(data) > 1:
            one(data[1:], wholes[data[0] % len(wholes)][0])

    corpus = wholes[0][0].parent / "corpus"
    corpus.mkdir()
    for row, (_, content) in enumerate(wholes):
        (corpus / str(row)).write_bytes(bytes([row]) + content)
    longest = 2 * max(len(content) for _, content in wholes) + 4096
    options = [
        sys.argv[0], f"-seed={seed}", f"-max_len={longest}", f"-timeout={HANG:.0f}",
        "-rss_limit_mb=4096", f"-artifact_prefix={found}-", "-verbosity=0", "-len_control=0", str(corpus),
    ]  # fmt: skip
    atheris.Setup(options, test, custom_mutator=mutate)
    atheris.Fuzz()


def _keep_last(folder: Path, found: Path) -> None:
    """Keep what a process was reading when it died: the youngest file in its folder."""
    left = sorted((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_mtime_ns)
    for path in left[-1:]:
        found.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, found / f"died{path.suffix}")


def _atheris() -> Any:
    try:
        import atheris
    except ImportError:
        return None
    return atheris


def main() -> int:
    """Every reader in turn, each in a process of its own."""
    sys.path[:0] = [str(SOURCES / "engine"), str(SOURCES / "tests")]
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--runs", type=int, default=1_000_000, help="executions in all")
    arguments.add_argument("--found", type=Path, default=Path("fuzz-found"), help="folder for what is found")
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--only", help="readers, with commas")
    arguments.add_argument("--chance", action="store_true", help="by chance alone, without libFuzzer")
    arguments.add_argument("--reader", help=argparse.SUPPRESS)
    arguments.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    asked = arguments.parse_args()
    asked.found.mkdir(parents=True, exist_ok=True)
    if asked.reader:
        guide = None if asked.chance else _atheris()
        return 0 if fuzz(asked.reader, asked.runs, asked.seed, asked.found.absolute(), asked.folder, guide) else 1
    from fuzz.readers import READERS

    chosen = asked.only.split(",") if asked.only else list(READERS)
    shares = sum(READERS[name].share for name in chosen)
    memory = Path("/dev/shm")
    failed = 0
    for name in chosen:
        runs = max(100, asked.runs * READERS[name].share // shares)
        folder = Path(tempfile.mkdtemp(prefix="mien-fuzz-", dir=memory if memory.is_dir() else None))
        command = [sys.executable, __file__, "--reader", name, "--runs", str(runs), "--seed", str(asked.seed)]
        command += ["--found", str(asked.found), "--folder", str(folder), *(["--chance"] if asked.chance else [])]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        ended = subprocess.run(command, capture_output=True, text=True, errors="replace", env=environment, check=False)
        said = [line for line in ended.stdout.splitlines() if line.startswith('{"reader"')]
        facts = json.loads(said[-1]) if said else {"reader": name, "died": ended.returncode}
        wrong = ended.returncode or set(facts) - {"reader", "runs", "seconds", "read", "refused"}
        if wrong:
            failed += 1
            (asked.found / f"{name}.log").write_text(ended.stderr[-20000:])
        if not said:
            _keep_last(folder, asked.found / name)
        shutil.rmtree(folder, ignore_errors=True)
        print(json.dumps({**facts, "exit": ended.returncode}), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
