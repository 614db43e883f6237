"""A full graphics card, imitated by an identity that raises what torch raises."""

from dataclasses import dataclass, field, replace

import pytest
import torch

from mien.chain import call_node
from mien.fallback import careful
from mien.models.crop_identity import FrameIdentity, LogEncoding
from mien.models.photograph import warp_source
from mien.models.warp import WarpIdentity, warp_identity
from mien.progress import Note
from mien.recipe import Step
from mien.types import Face, Layer, MienError, Plate
from shots import points_at

STEP = Step("convert_face", "convert_face", {"plate": "plate", "face": "track", "identity": "identity"})
SETTINGS = {"eyes": "plate", "mouth": "performer"}


@dataclass(frozen=True)
class Hungry:
    """An identity that cannot draw more than so many pixels at once."""

    own: WarpIdentity
    most: int
    asked: list[int] = field(default_factory=list)
    by_parts: bool = True
    digest: str = "hungry"

    def __call__(self, plate: Plate, face: Face) -> Layer:
        pixels = plate.image.shape[-1] * plate.image.shape[-2]
        self.asked.append(pixels)
        if pixels > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return self.own(plate, face)


def scene() -> tuple[Plate, Face, WarpIdentity]:
    generator = torch.Generator().manual_seed(2)
    picture = torch.rand(3, 200, 180, generator=generator)
    face = Face(points_at(90, 100, 90), torch.ones(468), 1.0, 90.0)
    photo = warp_source(torch.rand(3, 220, 200, generator=generator), points_at(100, 110, 100))
    placed = replace(face, points=face.points + torch.tensor([7.0, -3.0, 0.0]))
    return Plate(picture, (7, -3), 5), placed, warp_identity([photo])


def test_bands_grow_smaller_until_they_fit_and_give_the_same_picture() -> None:
    plate, face, own = scene()
    wanted = call_node(STEP, {"plate": plate, "face": face, "identity": own}, SETTINGS)
    for most in (36000, 19000, 9000, 4600):
        notes: list[object] = []
        released: list[int] = []
        hungry = Hungry(own, most)
        call = careful(notes.append, lambda kept=released: kept.append(1))
        made = call(STEP, {"plate": plate, "face": face, "identity": hungry}, SETTINGS)
        assert torch.allclose(made.image, wanted.image, atol=2e-4)
        assert torch.allclose(made.matte, wanted.matte, atol=2e-3)
        assert made.corner == wanted.corner and list(made.mattes) == list(wanted.mattes)
        assert any(made.matte is matte for matte in made.mattes.values())
        assert (len(hungry.asked) == 1) == (most == 36000) == (not notes) == (not released)
        if notes:
            assert isinstance(notes[0], Note) and "bands" in notes[0].message and "convert_face" in notes[0].message


def test_what_cannot_be_cut_goes_to_the_processor() -> None:
    plate, face, own = scene()
    wanted = call_node(STEP, {"plate": plate, "face": face, "identity": own}, SETTINGS)
    notes: list[object] = []
    opened: list[int] = []

    def elsewhere() -> WarpIdentity:
        opened.append(1)
        return own

    whole = Hungry(own, 10, by_parts=False)
    call = careful(notes.append, lambda: None, on_processor=elsewhere)
    made = call(STEP, {"plate": plate, "face": face, "identity": whole}, SETTINGS)
    assert torch.equal(made.image, wanted.image) and opened == [1]
    assert "on the processor" in str(notes[0])
    tiny = Hungry(own, 10)  # not even the smallest band fits
    assert torch.equal(call(STEP, {"plate": plate, "face": face, "identity": tiny}, SETTINGS).image, wanted.image)


def test_batches_of_tiles_are_halved_and_then_tiles_are_smaller() -> None:
    plate, face, _ = scene()
    asked: list[tuple[int, int]] = []

    def identity(most: int) -> FrameIdentity:
        def draw(tiles: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            asked.append((len(tiles), tiles.shape[-1]))
            if len(tiles) * tiles.shape[-1] ** 2 > most:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return tiles * 0.5, torch.ones_like(tiles[:, :1])

        return FrameIdentity(draw, 128, 8, LogEncoding(), "tiles", batch=4)

    wanted = identity(10**9)(plate, face)
    for most, says in [(2 * 128**2, "in batches of 2"), (128**2, "tile by tile"), (64**2, "in tiles of 64")]:
        asked.clear()
        notes: list[object] = []
        call = careful(notes.append, lambda: None)
        made = call(STEP, {"plate": plate, "face": face, "identity": identity(most)}, SETTINGS)
        assert torch.allclose(made.image, wanted.image, atol=1e-4) and asked[0] == (4, 128)
        assert says in str(notes[0])


def test_memory_that_was_only_kept_is_given_back_first() -> None:
    plate, face, own = scene()
    kept = [1, 2, 3]

    @dataclass(frozen=True)
    class Crowded:
        digest: str = "crowded"

        def __call__(self, plate: Plate, face: Face) -> Layer:
            if kept:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return own(plate, face)

    notes: list[object] = []
    careful(notes.append, kept.clear)(STEP, {"plate": plate, "face": face, "identity": Crowded()}, SETTINGS)
    assert "given up" in str(notes[0])


def test_other_steps_and_other_errors() -> None:
    plate = scene()[0]

    def never(step: Step, inputs: object, settings: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(MienError, match="proxy scale"):
        careful(lambda event: None, lambda: None, never)(STEP, {"plate": plate}, {})

    def wrong(step: Step, inputs: object, settings: object) -> None:
        raise ValueError("shapes")

    with pytest.raises(ValueError, match="shapes"):
        careful(lambda event: None, lambda: None, wrong)(STEP, {"plate": plate}, {})
