"""The page of nodes and knobs is the one that the groups make, and says every knob."""

import importlib.util

from nk.facts import user_knobs
from nk.script import Script
from trial import PLUGIN, ROOT


def drawing():
    spec = importlib.util.spec_from_file_location("draw_nodes", ROOT / "docs" / "draw_nodes.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date():
    module = drawing()
    page = (ROOT / "docs" / "nuke_nodes.md").read_text("utf-8")
    assert page == module.table(module.ordered()), "run python docs/draw_nodes.py"
    for name in ("nuke_shot", "nuke_miencomp", "nuke_mienconvert"):
        assert f"pictures/{name}.png" in page and (ROOT / "docs" / "pictures" / f"{name}.png").is_file()


def test_every_knob_that_is_seen_is_on_the_page():
    module = drawing()
    page = (ROOT / "docs" / "nuke_nodes.md").read_text("utf-8")
    for path in (PLUGIN / "groups").glob("*.gizmo"):
        part = page.partition(f"## {path.stem}\n")[2].partition("\n## ")[0]
        assert part, path.stem
        for knob in user_knobs(Script(path.read_text("utf-8")).root.children[0]).values():
            if module.shown(knob):
                assert module.row(knob, None).split("|")[1] in part


def test_wires_lead_down_in_every_picture():
    module = drawing()
    for name in module.DRAWN:
        group = Script((PLUGIN / "groups" / f"{name}.gizmo").read_text("utf-8")).root.children[0]
        last = next(child for child in group.children if child.cls == "Output")
        places = module.placed(group.children, last)
        assert len(set(places.values())) == len(places) > 4
        for node in places:
            for source in node.inputs:
                assert source is None or places[source][1] > places[node][1]
