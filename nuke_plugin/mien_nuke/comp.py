"""MienComp: the face laid over the plate by native nodes alone; every note that a supervisor gives is a knob.

out = plate + matte * opacity * (matrix * raw + offset - plate)
"""

from __future__ import annotations

from mien_nuke import VERSION, text

MATTES = ("rendered", "hull", "network", "edge")
"""What the matte menu offers: the rendered alpha, and the mattes that took part."""
LAYERS = (
    "add_layer {raw raw.red raw.green raw.blue}",
    "add_layer {matte matte.hull matte.network matte.edge matte.face matte.identity matte.hold_out}",
)


def shuffled(pairs: list, source: str) -> str:
    """Mappings of a Shuffle2 from one layer to rgba."""
    words = []
    for place, (channel, target) in enumerate(pairs):
        layer, index = (1, 3) if channel.startswith("rgba") else (0, place)
        words += [channel, str(layer), str(index), target, "0", str(place)]
    return f'mappings "{len(pairs)} ' + " ".join(words) + '"'


def comp() -> str:
    """The group's text."""
    user, knob, node = text.user, text.knob, text.node
    knobs = [
        *text.heading("Match", "comp", VERSION),
        user(
            4,
            "source",
            "face",
            "raw: the converted face, colored by the curves below. finished: as the engine's chain left it.",
            "",
            ("raw", "finished"),
        ),
        knob("source", "raw"),
        user(
            6,
            "match_on",
            "color match",
            "The color move that Analyse solved, one key per frame; edit it in the Curve Editor.",
            flags=("+STARTLINE",),
        ),
        knob("match_on", "true"),
        user(7, "match_mix", "amount", "0 is the raw face, 1 the full match.", "", (), (0, 1)),
        knob("match_mix", "1"),
        user(41, "matrix", "color matrix", "", "Matrix.matrix"),
        user(18, "offset", "offset", "Added after the matrix."),
        knob("offset", "{0 0 0}"),
        user(18, "gain", "gain", "Yours: multiplies the matched face."),
        knob("gain", "{1 1 1}"),
        user(18, "lift", "lift", "Yours: added after gain."),
        knob("lift", "{0 0 0}"),
        text.user(22, "reload", "Reload match", "Read the solved color move again.", RELOAD, flags=("+STARTLINE",)),
        user(20, "matte_tab", "Matte"),
        user(4, "matte", "matte", "rendered: with everything that the chain did to it.", "", MATTES),
        knob("matte", "rendered"),
        user(7, "face_width", "face width", "Of this frame, in pixels; Analyse sets its curve."),
        knob("face_width", "200"),
        user(
            7, "grow", "grow", "In face widths; negative shrinks. In whole pixels of the plate.", "", (), (-0.25, 0.25)
        ),
        knob("grow", "0"),
        user(7, "soften", "soften", "In face widths.", "", (), (0, 0.5)),
        knob("soften", "0"),
        user(6, "hold", "use holdout", "Where the holdout input is white, the plate stays.", flags=("+STARTLINE",)),
        knob("hold", "true"),
        user(20, "finish_tab", "Finish"),
        user(7, "sharpen", "sharpen", "", "", (), (0, 2)),
        knob("sharpen", "0"),
        user(7, "blur", "soften face", "In face widths.", "", (), (0, 0.05)),
        knob("blur", "0"),
        user(
            7,
            "grain",
            "grain",
            "Strength of grain on the face; for exact grain use the engine's detail_face.",
            "",
            (),
            (0, 2),
        ),
        knob("grain", "0"),
        user(7, "opacity", "opacity", "", "", (), (0, 1)),
        knob("opacity", "1"),
    ]
    inner = [
        *node("Input", "inputs 0", "name holdout", "number 2"),
        *node("Invert", "channels alpha", "name Invert_holdout"),
        "set Nhold [stack 0]",
        *node("Input", "inputs 0", "name face", "number 1"),
        "set Nface [stack 0]",
        *LAYERS,
        *node(
            "Expression",
            'expr3 "parent.matte == 0 ? a : parent.matte == 1 ? matte.hull : parent.matte == 2 ? matte.network : '
            'matte.edge"',
            "name Pick",
        ),
        *node(
            "Dilate",
            "channels alpha",
            "size {{parent.grow*parent.face_width}}",
            "name Grow",
            'disable {{"parent.grow == 0"}}',
        ),
        *node(
            "Blur",
            "channels alpha",
            "size {{parent.soften*parent.face_width}}",
            "name Soften",
            'disable {{"parent.soften == 0"}}',
        ),
        *node("Clamp", "channels alpha", "name Clamp_matte"),
        "set Nmatte [stack 0]",
        "push $Nhold",
        "push $Nmatte",
        *node(
            "ChannelMerge",
            "inputs 2",
            "A alpha",
            "B alpha",
            "operation multiply",
            "output alpha",
            "name Holdout",
            'disable {{"!\\[exists parent.input2] || !parent.hold"}}',
        ),
        "set Nkey [stack 0]",
        "push $Nface",
        *node("Unpremult", "channels rgb", "name Finished"),
        "push $Nface",
        *node(
            "Shuffle2",
            "fromInput1 {{0} B}",
            "in1 raw",
            "fromInput2 {{0} B}",
            "in2 rgba",
            shuffled(
                [
                    ("raw.red", "rgba.red"),
                    ("raw.green", "rgba.green"),
                    ("raw.blue", "rgba.blue"),
                    ("rgba.alpha", "rgba.alpha"),
                ],
                "raw",
            ),
            "name Raw",
        ),
        *node(
            "ColorMatrix",
            "matrix {",
            "    {1 0 0}",
            "    {0 1 0}",
            "    {0 0 1}",
            "  }",
            "mix {{parent.match_mix}}",
            "name Matrix",
            "disable {{!parent.match_on}}",
        ),
        *node(
            "Grade",
            "channels rgb",
            "add {" + " ".join(f"{{parent.offset.{letter}*parent.match_mix}}" for letter in "rgb") + " 0}",
            "black_clamp false",
            "name Offset",
            "disable {{!parent.match_on}}",
        ),
        *node("Switch", "inputs 2", "which {{parent.source}}", "name Source"),
        *node(
            "Grade",
            "channels rgb",
            "multiply {{parent.gain.r} {parent.gain.g} {parent.gain.b} 1}",
            "add {{parent.lift.r} {parent.lift.g} {parent.lift.b} 0}",
            "black_clamp false",
            "name Look",
        ),
        *node(
            "Blur",
            "channels rgb",
            "size {{parent.blur*parent.face_width}}",
            "name Blur_face",
            'disable {{"parent.blur == 0"}}',
        ),
        *node(
            "Sharpen",
            "channels rgb",
            "amount {{parent.sharpen}}",
            "minimum -100000",
            "maximum 100000",
            "name Sharpen_face",
            'disable {{"parent.sharpen == 0"}}',
        ),
        *node(
            "Grain2",
            "red_m {{parent.grain*0.4}}",
            "green_m {{parent.grain*0.4}}",
            "blue_m {{parent.grain*0.6}}",
            "black {0 0 0}",
            "maskgrain false",
            "name Grain",
            'disable {{"parent.grain == 0"}}',
        ),
        "set Nlook [stack 0]",
        "push $Nkey",
        "push $Nlook",
        *node("Input", "inputs 0", "name plate"),
        *node(
            "Keymix", "inputs 3", "channels rgb", "maskChannel alpha", "bbox B", "mix {{parent.opacity}}", "name Lay"
        ),
        *node("Output", "name Output1"),
    ]
    return text.group("MienComp1", knobs, inner, __doc__.partition("\n")[0], "0x4f6f8fff")


RELOAD = """try:
    from mien_nuke import actions
except ImportError:
    nuke.message("mien is not installed here. The match stays as it is: it is curves on this node.")
else:
    actions.reload_match(nuke.thisNode())"""
