"""Color: OpenColorIO's results on tensors, what files mean, what networks see."""

import math
from pathlib import Path

import numpy
import PyOpenColorIO as ocio
import pytest
import torch

from mien import color
from mien.ops import transfer
from mien.types import MienError

SPACES = (
    "ACEScg",
    "ACEScct",
    "ACEScc",
    "ACES2065-1",
    "sRGB - Display",
    "sRGB Encoded Rec.709 (sRGB)",
    "Rec.1886 Rec.709 - Display",
    "Linear Rec.709 (sRGB)",
    "Linear P3-D65",
    "Camera Rec.709",
    "ARRI LogC3 (EI800)",
    "ARRI LogC4",
    "S-Log3 S-Gamut3",
    "Log3G10 REDWideGamutRGB",
    "V-Log V-Gamut",
    "DaVinci Intermediate WideGamut",
    "CanonLog2 CinemaGamut D55",
    "Apple Log",
    "ADX10",
    "Rec.2100-PQ - Display",
)
LINEAR = ("ACEScg", "ACES2065-1", "Linear Rec.709 (sRGB)", "Linear P3-D65")


@pytest.fixture(scope="module")
def colors() -> color.Colors:
    return color.load(color.BUILT_IN)


def signal() -> torch.Tensor:
    """Code values as cameras and displays write them, with some under- and overshoot."""
    generator = torch.Generator().manual_seed(1)
    return torch.rand(3, 60, 50, generator=generator) * 1.15 - 0.08


def light() -> torch.Tensor:
    """Scene-linear values from below black to a bright lamp."""
    generator = torch.Generator().manual_seed(2)
    stops = torch.rand(3, 60, 50, generator=generator) * 20 - 14
    return torch.exp2(stops) - 0.02


@pytest.mark.parametrize("space", SPACES)
def test_tensors_match_opencolorio(colors: color.Colors, space: str) -> None:
    # Just above black ACEScc has a slope of 2700: it shows the last bit, in which processors differ.
    limit = 2e-4 if space == "ACEScc" else 1e-4
    for transform, image in (
        (colors.to_working(space), light() if space in LINEAR else signal()),
        (colors.from_working(space), light()),
    ):
        theirs, ours = transform.packed(image), transform.evaluate(image)
        assert ours.shape == theirs.shape == image.shape
        assert ((ours - theirs).abs() / theirs.abs().clamp_min(1)).max() < limit
        # Beside OpenColorIO's own processor, called the plainest way and without its shortcuts.
        whole = colors.config.getProcessor(transform.source, transform.target)
        depth = ocio.BIT_DEPTH_F32
        plain = whole.getOptimizedCPUProcessor(depth, depth, ocio.OPTIMIZATION_LOSSLESS)
        pixels = image.permute(1, 2, 0).contiguous().numpy().copy()
        plain.applyRGB(pixels)
        reference = torch.from_numpy(pixels).permute(2, 0, 1)
        assert ((ours - reference).abs() / reference.abs().clamp_min(1)).max() < limit


@pytest.mark.parametrize("space", [s for s in SPACES if s not in ("ACEScc", "ADX10")])
def test_there_and_back(colors: color.Colors, space: str) -> None:
    image = light().clamp_min(0.001) * 0.02
    back = colors.to_working(space)(colors.from_working(space)(image))
    assert (back - image).abs().max() < 2e-3


def test_superwhite_and_negative_survive(colors: color.Colors) -> None:
    image = torch.tensor([16.0, -0.05, 0.18]).expand(3, 1, 3).clone()
    for space in ("ARRI LogC4", "ACEScct", "Linear Rec.709 (sRGB)", "sRGB - Display"):
        there, back = colors.from_working(space), colors.to_working(space)
        assert torch.allclose(back(there(image)), image, atol=2e-3)
        assert torch.allclose(back.evaluate(there.evaluate(image)), image, atol=2e-3)


def test_infinite_light_is_as_opencolorio_has_it(colors: color.Colors) -> None:
    image = torch.tensor([math.inf, 65504.0, 1.0]).expand(3, 1, 3).clone()
    for space in ("ACEScct", "S-Log3 S-Gamut3", "Rec.1886 Rec.709 - Display"):
        transform = colors.from_working(space)
        theirs, ours = transform.packed(image), transform.evaluate(image)
        assert torch.equal(ours.isfinite(), theirs.isfinite())


def test_equal_spaces_change_no_bit(colors: color.Colors) -> None:
    image = light()
    image[0, 0, 0], image[1, 1, 1] = math.nan, math.inf
    for name in ("ACEScg", "scene_linear", "lin_ap1", "lin_ap1_scene"):
        transform = colors.to_working(name)
        assert transform.unchanged and transform(image) is image


def test_batches_equal_loops_and_layout_does_not_matter(colors: color.Colors) -> None:
    transform = colors.to_working("ARRI LogC4")
    images = torch.stack([signal(), signal().flip(-1)])
    for way in (transform.packed, transform.evaluate):
        together = way(images)
        assert torch.allclose(together[1], way(images[1]), rtol=1e-6, atol=1e-6)
        turned = images.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
        kept = turned.clone()
        assert torch.allclose(way(turned), together, rtol=1e-6, atol=1e-6)
        assert torch.equal(turned, kept)


def test_operators_that_only_opencolorio_has_fall_back(colors: color.Colors) -> None:
    transform = colors.to_working("Rec.2100-HLG - Display")
    assert transform.steps is None
    assert transform(signal().clamp(0, 1)).isfinite().all()
    with pytest.raises(ValueError, match="only OpenColorIO"):
        transform.evaluate(signal())


@pytest.mark.parametrize("interpolation", ["linear", "tetrahedral"])
def test_cubes_match_opencolorio(interpolation: str) -> None:
    size = 9
    values = numpy.random.default_rng(3).random((size, size, size, 3), dtype=numpy.float32)
    lut = ocio.Lut3DTransform(size)
    lut.setData(values.reshape(-1))
    lut.setInterpolation(ocio.INTERP_LINEAR if interpolation == "linear" else ocio.INTERP_TETRAHEDRAL)
    processor = ocio.Config.CreateRaw().getProcessor(lut).getDefaultCPUProcessor()
    image = signal()
    pixels = image.permute(1, 2, 0).contiguous().numpy().copy()
    processor.applyRGB(pixels)
    ours = transfer.cube(image, torch.from_numpy(values), interpolation)  # type: ignore[arg-type]
    assert numpy.abs(ours.permute(1, 2, 0).numpy() - pixels).max() < 1e-5


@pytest.mark.parametrize("style", ["clamp", "mirror", "keep"])
def test_exponents_match_opencolorio(style: str) -> None:
    styles = {"clamp": ocio.NEGATIVE_CLAMP, "mirror": ocio.NEGATIVE_MIRROR, "keep": ocio.NEGATIVE_PASS_THRU}
    operator = ocio.ExponentTransform([2.2, 1.7, 0.8, 1.0])
    operator.setNegativeStyle(styles[style])
    processor = ocio.Config.CreateRaw().getProcessor(operator).getDefaultCPUProcessor()
    pixels = signal().permute(1, 2, 0).contiguous().numpy().copy()
    processor.applyRGB(pixels)
    ours = transfer.exponent(signal(), (2.2, 1.7, 0.8), style)  # type: ignore[arg-type]
    assert numpy.abs(ours.permute(1, 2, 0).numpy() - pixels).max() < 1e-4


@pytest.mark.parametrize(
    ("told", "space"),
    [
        ({"name": "acescct", "path": "a.exr"}, "ACEScct"),
        ({"name": "scene_linear", "path": "a.png", "kind": "integer"}, "ACEScg"),
        ({"path": "a.exr", "header": {"colorInteropID": "lin_rec709_scene"}}, "Linear Rec.709 (sRGB)"),
        ({"path": "a.exr", "header": {"colorInteropID": "unknown"}}, "ACES2065-1"),
        ({"path": "a.exr", "header": {"chromaticities": color.CHROMATICITIES["lin_ap1_scene"]}}, "ACEScg"),
        ({"path": "a.exr", "header": {"oiio:ColorSpace": "lin_rec709"}}, "ACES2065-1"),
        ({"path": "a.exr"}, "ACES2065-1"),
        ({"path": "a.tif"}, "ACEScg"),
        ({"path": "a.tif", "kind": "integer"}, "sRGB - Display"),
        ({"path": "a.png", "kind": "integer", "header": {"oiio:ColorSpace": "lin_ap1"}}, "ACEScg"),
        ({"path": "a.png", "kind": "integer", "header": {"oiio:ColorSpace": "nonsense"}}, "sRGB - Display"),
        ({"path": "a.MOV", "kind": "movie"}, "Rec.1886 Rec.709 - Display"),
        ({"path": "a.mkv", "kind": "movie"}, "Rec.1886 Rec.709 - Display"),
    ],
)
def test_what_a_file_means(colors: color.Colors, told: dict[str, object], space: str) -> None:
    assert colors.resolve(**told) == space  # type: ignore[arg-type]


def test_unknown_spaces_get_a_hint(colors: color.Colors) -> None:
    with pytest.raises(MienError, match="ACEScg"):
        colors.resolve("ACESgc")
    with pytest.raises(MienError, match="no color space 'xqzw'"):
        colors.to_working("xqzw")


def test_interop_ids_are_known(colors: color.Colors) -> None:
    assert colors.interop_id("scene_linear") == "lin_ap1_scene"
    assert colors.space("lin_ap0_scene") == "ACES2065-1"


CONFIG = """ocio_profile_version: {version}
roles:
  {role}: lin
  texture_paint: vd8
file_rules:
  - !<Rule> {{name: Default, colorspace: lin}}
displays:
  screen:
    - !<View> {{name: plain, colorspace: vd8}}
colorspaces:
  - !<ColorSpace>
    name: lin
  - !<ColorSpace>
    name: vd8
    to_reference: !<ExponentTransform> {{value: 2.2}}
"""


def write_config(folder: Path, version: str = "2.0", role: str = "scene_linear") -> Path:
    path = folder / "config.ocio"
    path.write_text(CONFIG.format(version=version, role=role))
    return path


def test_a_studio_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_config(tmp_path)
    own = color.load(path)
    assert own.working == "lin" and own.source == str(path)
    assert own.resolve(path="x.exr") == "lin"
    assert own.resolve(path="x.png", kind="integer") == "vd8"
    assert own.resolve(path="x.mov", kind="movie") == "vd8"
    assert own.encoding == color.Encoding()
    monkeypatch.setenv("OCIO", str(path))
    assert color.load().working == "lin"
    assert color.load(color.BUILT_IN).working == "ACEScg"
    assert own.digest != color.load(color.BUILT_IN).digest
    monkeypatch.delenv("OCIO")
    assert color.load().source == color.BUILT_IN


def test_broken_configs_say_so(tmp_path: Path) -> None:
    with pytest.raises(MienError, match="role scene_linear"):
        color.load(write_config(tmp_path, role="reference"))
    with pytest.raises(MienError, match=r"nowhere\.ocio"):
        color.load(tmp_path / "nowhere.ocio")
    (tmp_path / "junk.ocio").write_text("no config at all")
    with pytest.raises(MienError, match=r"junk\.ocio"):
        color.load(tmp_path / "junk.ocio")


def test_networks_see_srgb(colors: color.Colors) -> None:
    image = light().clamp(0, 20)
    encoded = colors.encoding.encode(image, white=1.0)
    expected = colors.from_working("sRGB - Display")(image).clamp(0, 1)
    assert (encoded - expected).abs().max() < 2e-4
    assert encoded.min() >= 0 and encoded.max() <= 1
    assert torch.allclose(colors.encoding.encode(image * 4, white=4.0), encoded, atol=1e-5)


def test_the_residual_gives_everything_back(colors: color.Colors) -> None:
    image = torch.cat([light() * 30, -light(), signal()], -1)
    for white in (0.5, 1.0, 8.0):
        encoding = colors.encoding
        again = encoding.decode(encoding.encode(image, white), white) + encoding.residual(image, white)
        assert ((again - image).abs() / image.abs().clamp_min(1)).max() < 1e-6


def test_inside_the_encoding_nothing_is_left_over(colors: color.Colors) -> None:
    skin = colors.to_working("sRGB - Display")(torch.rand(3, 40, 40, generator=torch.Generator().manual_seed(4)))
    assert colors.encoding.residual(skin).abs().max() < 1e-5
    lamp = torch.full((3, 4, 4), 8.0)
    assert torch.allclose(colors.encoding.residual(lamp), torch.full((3, 4, 4), 7.0), atol=1e-4)


def test_networks_never_see_nothing(colors: color.Colors) -> None:
    strange = torch.tensor([math.nan, math.inf, -math.inf, 1e30]).expand(3, 1, 4).clone()
    encoded = colors.encoding.encode(strange)
    assert torch.allclose(encoded[0, 0], torch.tensor([0.0, 1.0, 0.0, 1.0]), atol=1e-6)
    residual = colors.encoding.residual(strange)
    assert residual[0, 0, 0].isnan() and residual[0, 0, 1] == math.inf and residual[0, 0, 2] == -math.inf


@pytest.mark.parametrize("stops", [-8.0, -3.0, 0.0, 2.5, 6.0])
def test_previews_show_plates_of_any_exposure(colors: color.Colors, stops: float) -> None:
    y, x = torch.meshgrid(torch.linspace(0, 1, 60), torch.linspace(0, 1, 80), indexing="ij")
    face = (0.05 + 0.4 * x + 0.05 * torch.sin(20 * y)).expand(3, 60, 80) * 2**stops
    shown = colors.encoding.preview(face, colors.encoding.exposure(face))
    assert shown.shape == (60, 80, 3) and shown.dtype == torch.uint8
    assert 90 < float(shown.float().median()) < 150
    assert float(shown.float().std()) > 25
    assert (shown[30, 1:].int() - shown[30, :-1].int()).min() >= 0


def test_previews_keep_detail_beside_a_lamp(colors: color.Colors) -> None:
    face = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(5)) * 0.02
    face[:, :8, :8] = 5000.0
    face[0, 20, 20] = math.nan
    shown = colors.encoding.preview(face, colors.encoding.exposure(face))
    assert shown[20:, 20:].float().std() > 15
    assert (shown[:8, :8] > 250).all()
    assert (colors.encoding.preview(torch.zeros(3, 4, 4), colors.encoding.exposure(torch.zeros(3, 4, 4))) == 0).all()


@pytest.mark.parametrize("like", [None, "sRGB - Texture"])
def test_a_glance_is_a_view_to_a_level_or_two(like):
    colors = color.load(None)
    random = torch.Generator().manual_seed(1)
    light = torch.exp2(torch.rand(3, 90, 110, generator=random) * 12 - 9)
    light = 0.8 * light.mean(0) + 0.2 * light
    seen = colors.for_viewing(colors.working, like=like)(light.contiguous())
    glanced = colors.for_glancing(colors.working, like=like)(light)
    apart = (seen.clamp(0, 1) - glanced.clamp(0, 1)).abs() * 255
    assert glanced.shape == seen.shape and float(apart.mean()) < 0.6 and float(apart.quantile(0.999)) < 4
    odd = torch.tensor([float("inf"), -5.0, 1e6]).view(3, 1, 1)
    assert bool(torch.isfinite(colors.for_glancing(colors.working)(odd)).all())
