"""What surrounds an exported network for Nuke: a node that makes a .cat, and a Cattery folder."""

import json
import warnings
from dataclasses import asdict

import pytest
import torch
from nk import tcl
from nk.check import check
from nk.facts import load
from nk.script import Script

from mien.commands.cattery import catalog, creator_script, folder_of, plain_name
from mien.commands.exporting import ExportArguments, export_identity
from mien.files.identities import IdentityFile, Likeness, write_identity
from mien.models.unet import PairedNetwork, PairedShape

HOSTILE = 'The "Performer" [exec rm] $HOME {open \\'


@pytest.mark.parametrize("kind", ["swap", "paired"])
@pytest.mark.parametrize("name", ["look.pt", "7 of nine-final.v2.pt", "üñ [x].pt"])
def test_the_node_that_makes_a_cat_is_right_whatever_it_is_told(tmp_path, kind, name):
    file = IdentityFile(kind, Likeness(HOSTILE, "contract\n12"))
    text = creator_script(tmp_path / name, file, 256)
    assert check(text, load()) == []
    node = Script(text).root.children[0]
    assert node.inputs == [] and node.values["modelId"] == plain_name(tmp_path / name)
    assert node.values["torchScriptFile"] == (tmp_path / name).as_posix()
    assert node.values["catFile"].endswith(f"/Cattery/{plain_name(tmp_path / name)}/{plain_name(tmp_path / name)}.cat")
    ran = []
    # Nuke runs a label through Tcl once more.
    shown = tcl.substituted(
        node.values["label"], lambda words: ran.append(words) or "", lambda variable: ran.append(variable)
    )
    assert ran == [] and '"Performer" [exec rm] $HOME' in shown
    assert ("256 x 256" in shown) == (kind == "swap")


def test_the_folder_says_what_it_offers(tmp_path):
    told = json.loads(catalog(tmp_path / "look.pt", IdentityFile("paired", Likeness("Ann", "12"))))
    assert set(told) == {"minimum_nuke_version_required", "version", "category", "description", "cats"}
    assert told["cats"] == [{"filepath": "look.cat", "name": "look", "icon": ""}]
    assert "Ann" in told["description"] and float(told["minimum_nuke_version_required"]) >= 15.1
    assert folder_of(tmp_path / "look.pt") == tmp_path / "Cattery" / "look"


def test_knobs_of_the_node_are_attributes_of_the_network(tmp_path):
    torch.manual_seed(0)
    shape = PairedShape(3, 3, 4, 2)
    facts = {"shape": asdict(shape), "size": 32, "view": "frame", "coverage": 1.3, "encoding": "display"}
    likeness = Likeness("Ann", "12")
    identity = tmp_path / "look.safetensors"
    write_identity(identity, IdentityFile("paired", likeness, facts, PairedNetwork(shape).eval().state_dict()))
    outcome = export_identity(ExportArguments(identity, "torchscript", tmp_path / "look.pt"), lambda _: None)
    assert [path.rpartition("/")[2] for path in outcome.written] == ["look.pt", "look.nk", "cat.json"]
    node = Script((tmp_path / "look.nk").read_text()).root.children[0]
    user = [tcl.split(text)[1] for name, text in node.lines if name == "addUserKnob"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = torch.jit.load(node.values["torchScriptFile"])
    for name in user[1:]:
        assert isinstance(getattr(network, name), float), name
    given, made = (len(node.values[name].split(",")) for name in ("channelsIn", "channelsOut"))
    with torch.inference_mode():
        assert network(torch.rand(1, given, 24, 40)).shape == (1, made, 24, 40)
