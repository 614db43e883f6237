"""What Nuke needs around an exported network: the node that makes a ``.cat``, and the folder that offers it."""

import json
import re
from pathlib import Path

from mien.files.identities import IdentityFile

OLDEST = 15.1
"""Nuke whose libtorch, 2.1, is the oldest that loads what is exported."""
CHANNELS = "rgba.red, rgba.green, rgba.blue"
TCL = str.maketrans({letter: f"\\{letter}" for letter in '\\"[]{}$'} | {"\n": " ", "\r": " "})


def plain_name(path: Path) -> str:
    """A name for nodes and folders from a file's name: letters, digits and underscores, no digit in front."""
    name = re.sub(r"\W+", "_", path.stem, flags=re.ASCII).strip("_")
    return name if name and not name[0].isdigit() else f"face_{name}".rstrip("_")


def folder_of(path: Path) -> Path:
    """The Cattery folder beside an export: what lies there appears in Nuke's Cattery menu."""
    return path.resolve().parent / "Cattery" / plain_name(path)


def creator_script(path: Path, file: IdentityFile, size: int) -> str:
    """Nodes to paste into NukeX: a CatFileCreator with the knobs of the network; paths are whole."""
    told = f"{file.likeness.name or 'not named'}, {file.likeness.release or 'no release named'}"
    shape = f"Reformat the face to {size} x {size} first." if file.kind == "swap" else "Takes any size."
    name = plain_name(path)
    source, made = path.resolve().as_posix(), (folder_of(path) / f"{name}.cat").as_posix()
    return f"""set cut_paste_input [stack 0]
version 15.1 v1
CatFileCreator {{
 inputs 0
 torchScriptFile "{_word(source)}"
 catFile "{_word(made)}"
 channelsIn "{CHANNELS}"
 channelsOut "{CHANNELS}, rgba.alpha"
 modelId {name}
 outputScale 1
 name Make_{name}
 label "{_label(told)}\\n{shape}\\nIn: scene-linear, the working space. Out: picture and matte."
 addUserKnob {{20 User l mien}}
 addUserKnob {{7 mix t "0 shows the input, 1 the network's picture." R 0 1}}
 mix 1
 addUserKnob {{7 matte_gain l "matte gain" t "Multiplies the matte." R 0 2}}
 matte_gain 1
}}
"""


def catalog(path: Path, file: IdentityFile) -> str:
    """``cat.json`` of the Cattery folder."""
    told = file.likeness
    return (
        json.dumps(
            {
                "minimum_nuke_version_required": str(OLDEST),
                "version": "1.0",
                "category": "mien",
                "description": f"A {file.kind} identity that shows {told.name or 'nobody named'}, released by "
                f"{told.release or 'nobody named'}. Experimental; needs NukeX to make the .cat.",
                "cats": [{"filepath": f"{plain_name(path)}.cat", "name": plain_name(path), "icon": ""}],
            },
            indent=1,
            ensure_ascii=False,
        )
        + "\n"
    )


def _word(text: str) -> str:
    """Text between the quotes of a script file: nothing in it is run or ends the quote."""
    return text.translate(TCL)


def _label(text: str) -> str:
    """Text of a label, which Nuke runs through Tcl once more when it draws the node."""
    return _word(re.sub(r'([\\\[\]$"])', r"\\\1", text.replace("{", "(").replace("}", ")")))
