"""Node groups in the real thing: plain, complete, explained, keyable, shared, versioned."""

import json
from pathlib import Path

import bpy
import host
import pytest

KINDS = ("convert", "matte", "color_match", "finish", "comp")


def add(kind):
    """Add a node as the menu does; the node."""
    tree = host.tree_of(bpy.context.scene)
    before = {node.name for node in tree.nodes} if tree else set()
    assert host.said(bpy.ops.mien.add_node, kind=kind) == ""
    tree = host.tree_of(bpy.context.scene)
    (node,) = [node for node in tree.nodes if node.name not in before and node.bl_idname == "CompositorNodeGroup"]
    return node


def sockets(tree, way):
    return [item for item in tree.interface.items_tree if item.item_type == "SOCKET" and item.in_out == way]


@pytest.mark.parametrize("kind", KINDS)
def test_a_node_is_a_plain_group_with_explained_keyable_sockets(scene, kind):
    host.empty_tree(scene)
    node = add(kind)
    tree = node.node_tree
    assert node.bl_idname == "CompositorNodeGroup" and tree["mien_kind"] == kind and tree["mien_version"] >= 1
    assert not any("CustomGroup" in inner.bl_idname for inner in tree.nodes)
    for item in [*sockets(tree, "INPUT"), *sockets(tree, "OUTPUT")]:
        assert item.description.strip(), f"{item.name} has no tooltip"
    dialed = [entry for entry in node.inputs if entry.enabled and not entry.hide_value]
    for entry in dialed:
        if entry.type in ("VALUE", "VECTOR", "INT", "BOOLEAN"):
            assert entry.keyframe_insert("default_value", frame=1), entry.name


def test_every_setting_of_the_chain_is_a_socket_with_the_declared_limits(scene):
    host.empty_tree(scene)
    tree = add("convert").node_tree
    settings = json.loads(tree["mien_settings"])
    params = {f"{node['id']}.{param['name']}": param for node in host.declared() for param in node["params"]}
    chain = {"convert_face", "face_matte", "matte_edge", "refine_matte", "match_color", "grade_face", "relight",
             "detail_face", "composite", "smooth_track", "hold_out", "clean_edge"}  # fmt: skip
    wanted = {path for path, param in params.items() if path.split(".")[0] in chain and param["kind"] != "file"}
    shown = set(settings.values())
    missing = sorted(path for path in wanted - shown if host.VERSION >= (5, 0) or params[path]["kind"] != "menu")
    assert missing == []
    items = {item.identifier: item for item in sockets(tree, "INPUT")}
    for identifier, path in settings.items():
        item, param = items[identifier], params[path]
        assert param["help"].split(":")[0][:20] in item.description, path
        if param["kind"] == "float":
            assert item.default_value == pytest.approx(param["default"]), path
            if param["slider"]["min"] is not None:
                assert item.min_value == pytest.approx(param["slider"]["min"]), path


def test_panels_gather_the_settings(scene):
    host.empty_tree(scene)
    tree = add("convert").node_tree
    panels = [item for item in tree.interface.items_tree if item.item_type == "PANEL"]
    assert len(panels) >= 5 and all(panel.default_closed for panel in panels)


def test_copies_share_one_tree(scene):
    host.empty_tree(scene)
    one, other = add("comp"), add("comp")
    assert one.node_tree == other.node_tree
    assert len([tree for tree in bpy.data.node_groups if tree.get("mien_kind") == "comp"]) == 1


def test_an_old_group_is_updated_only_when_asked_and_keeps_its_values(scene):
    host.empty_tree(scene)
    node = add("comp")
    host.socket(node, "Opacity").default_value = 0.25
    current = node.node_tree["mien_version"]
    node.node_tree["mien_version"] = 0
    path = Path(bpy.app.tempdir) / "old.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    bpy.ops.wm.open_mainfile(filepath=str(path))
    node = next(n for n in host.tree_of(bpy.context.scene).nodes if n.bl_idname == "CompositorNodeGroup")
    assert node.node_tree["mien_version"] == 0, "updated silently"
    assert host.said(bpy.ops.mien.update_nodes) == ""
    node = next(n for n in host.tree_of(bpy.context.scene).nodes if n.bl_idname == "CompositorNodeGroup")
    assert node.node_tree["mien_version"] == current
    assert host.socket(node, "Opacity").default_value == 0.25


def test_nodes_are_found_in_the_add_menu(scene):
    hooks = getattr(bpy.types.NODE_MT_add.draw, "_draw_funcs", [])
    assert any(getattr(hook, "__module__", "").startswith(host.MODULE) for hook in hooks)
