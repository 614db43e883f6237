"""Blender's ways in few words: install, a new file, render and read back, compare bit by bit."""

import os
from pathlib import Path

import bpy
import numpy as np
import OpenImageIO as oiio

VERSION = bpy.app.version[:2]
MODULE = "bl_ext.user_default.mien"


def install(archive):
    """Install the zip as the preferences do, which also switches the extension on; the module's name."""
    import addon_utils

    if "bl_pkg" not in bpy.context.preferences.addons:
        addon_utils.enable("bl_pkg")
    bpy.ops.extensions.package_install_files(
        filepath=str(archive), repo="user_default", enable_on_install=True, overwrite=True
    )
    assert MODULE in bpy.context.preferences.addons, "the extension was not switched on"
    return MODULE


def enable(on=True):
    """Switch the extension on or off, as the preferences do."""
    import addon_utils

    if on:
        assert addon_utils.enable(MODULE, default_set=True) is not None
    else:
        addon_utils.disable(MODULE, default_set=True)


def fresh_scene():
    """A new file; factory settings would switch the extension off, the factory's startup file does not."""
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    if MODULE not in bpy.context.preferences.addons:
        enable()
    scene = bpy.context.scene
    scene.render.compositor_device = "CPU"
    scene.render.compositor_precision = "FULL"
    return scene


def float_output(scene, depth="32"):
    """Let renders of a scene be written as float EXR, untouched."""
    settings = scene.render.image_settings
    if VERSION >= (5, 0):
        settings.media_type = "IMAGE"
    settings.file_format, settings.color_depth, settings.color_mode = "OPEN_EXR", depth, "RGBA"
    settings.exr_codec = "ZIP"


def tree_of(scene):
    """The compositor's tree of a scene; None where it has none."""
    return scene.compositing_node_group if VERSION >= (5, 0) else scene.node_tree


def render(scene, frames, folder):
    """Render frames; their pixels, (height, width, 4) float32, in the order of ``frames``."""
    float_output(scene)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    scene.render.filepath = str(folder / "out.####")
    scene.render.use_file_extension = True
    kept = scene.frame_start, scene.frame_end
    scene.frame_start, scene.frame_end = frames[0], frames[-1]
    bpy.ops.render.render(animation=True, scene=scene.name)
    scene.frame_start, scene.frame_end = kept
    return [read(folder / f"out.{frame:04d}.exr") for frame in frames]


def read(path):
    """Pixels of an EXR as float32, all its channels in the order of the file."""
    file = oiio.ImageInput.open(os.fspath(path))
    assert file is not None, f"{path}: {oiio.geterror()}"
    spec = file.spec()
    pixels = file.read_image(0, 0, 0, spec.nchannels, oiio.FLOAT)
    file.close()
    return pixels


def same_bits(one, other):
    """Whether two pictures hold the same bits; -0.0 counts as 0.0, which Blender's mixing makes of it."""
    one, other = (np.ascontiguousarray(picture, np.float32) + np.float32(0) for picture in (one, other))
    nan = np.isnan(one) & np.isnan(other)
    return bool(((one.view(np.uint32) == other.view(np.uint32)) | nan).all())


def largest(one, other, where):
    """The largest difference of finite values within a mask."""
    with np.errstate(invalid="ignore", over="ignore"):
        difference = np.abs(one.astype(np.float64) - other)
    return float(difference[where & np.isfinite(difference)].max(initial=0.0))


def set_up(scene, facts, folder):
    """Fill in the sidebar's shot: plate, range, track, identity, and a folder for what is made."""
    shot = scene.mien
    shot.plate, shot.first, shot.last = facts.plate, facts.first, facts.last
    shot.folder, shot.track, shot.identity = str(folder), facts.track, facts.identity
    shot.pixels = "float"
    return shot


def said(call, **arguments):
    """Call an operator: an empty text where it finished, else what it reported."""
    try:
        outcome = call(**arguments)
    except RuntimeError as error:
        return str(error)
    return "" if outcome == {"FINISHED"} else str(outcome)


def socket(node, name, panel=None):
    """An input of a group node by its name, and by its panel's where names repeat."""
    items = node.node_tree.interface.items_tree
    found = [
        item.identifier for item in items
        if item.item_type == "SOCKET" and item.in_out == "INPUT" and item.name == name
        and (panel is None or item.parent.name == panel)
    ]  # fmt: skip
    assert len(found) == 1, f"{name} of {panel}: {len(found)} sockets"
    return next(entry for entry in node.inputs if entry.identifier == found[0])


def out_of(node, name):
    """An output of a node by name."""
    return next(entry for entry in node.outputs if entry.name == name)


def picture(tree, path, non_color=True):
    """An image node with a file, its values untouched."""
    node = tree.nodes.new("CompositorNodeImage")
    node.image = bpy.data.images.load(os.fspath(path))
    if non_color:
        node.image.colorspace_settings.name = "Non-Color"
    return node


def write(path, pixels):
    """Write (height, width, 3 or 4) float pixels as an EXR."""
    pixels = np.ascontiguousarray(pixels, np.float32)
    spec = oiio.ImageSpec(pixels.shape[1], pixels.shape[0], pixels.shape[2], "float")
    file = oiio.ImageOutput.create(os.fspath(path))
    assert file.open(os.fspath(path), spec) and file.write_image(pixels) and file.close(), file.geterror()
    return path


def empty_tree(scene, width=16, height=16):
    """A compositor tree with nothing but an output, and the socket that takes the scene's picture."""
    scene.render.resolution_x, scene.render.resolution_y, scene.render.resolution_percentage = width, height, 100
    if VERSION >= (5, 0):
        tree = scene.compositing_node_group = bpy.data.node_groups.new("Trial", "CompositorNodeTree")
        tree.interface.new_socket("Image", in_out="OUTPUT", socket_type="NodeSocketColor")
        return tree, tree.nodes.new("NodeGroupOutput").inputs[0]
    scene.use_nodes = True
    tree = scene.node_tree
    tree.nodes.clear()
    return tree, tree.nodes.new("CompositorNodeComposite").inputs[0]


def node_of(scene, kind):
    """The node of a kind in a built shot."""
    nodes = [node for node in tree_of(scene).nodes if node.bl_idname == "CompositorNodeGroup" and node.node_tree]
    return next(node for node in nodes if node.node_tree.get("mien_kind") == kind)


def convert_node(scene):
    """The Convert node of a built shot."""
    return node_of(scene, "convert")


def setting(node, path):
    """The socket of an engine's setting, ``STEP.PARAM``."""
    import json

    settings = json.loads(node.node_tree["mien_settings"])
    (identifier,) = [key for key, value in settings.items() if value == path]
    return next(entry for entry in node.inputs if entry.identifier == identifier)


def declared():
    """The engine's nodes, as the extension carries them."""
    import importlib
    import json

    package = importlib.import_module(MODULE)
    return json.loads((Path(package.__file__).parent / "mien" / "nodes.json").read_text())["nodes"]


def dial(node, path, value):
    """Set an engine's setting; menus are numbers in 4.5."""
    entry = setting(node, path)
    if entry.type == "INT" and isinstance(value, str):
        params = {f"{one['id']}.{param['name']}": param for one in declared() for param in one["params"]}
        value = params[path]["choices"].index(value)
    entry.default_value = value


def dial_native(node, facts):
    """Leave to the engine what native nodes replay, as the made shot's recipe does."""
    for path, value in facts.native.items():
        dial(node, path, value)


def slate(node):
    """Show a slate where frames are missing."""
    entry = next(one for one in node.inputs if one.name in ("Missing", "Slate"))
    entry.default_value = True if entry.type == "BOOLEAN" else "Slate"


def keys_of(owner):
    """The keyframe curves of a tree or a scene."""
    action = owner.animation_data.action if owner.animation_data else None
    if action is None:
        return []
    legacy = list(getattr(action, "fcurves", ()))
    layers = getattr(action, "layers", ())
    return legacy or [
        curve for layer in layers for strip in layer.strips for bag in strip.channelbags for curve in bag.fcurves
    ]


def turn(seconds=0.02):
    """What Blender's event loop does in a window: let the extension's timer run once."""
    import importlib
    import time

    time.sleep(seconds)
    runner = importlib.import_module(f"{MODULE}.ui.runner")
    return runner.tick()


def pump(until, most=120.0):
    """Turn until something is so; the seconds that took."""
    import time

    began = time.perf_counter()
    while not until():
        assert time.perf_counter() - began < most, f"not within {most:.0f} s"
        if MODULE in bpy.context.preferences.addons:
            turn()
        else:
            time.sleep(0.02)
    return time.perf_counter() - began


def settle():
    """End whatever runs."""
    state = getattr(bpy.context.window_manager, "mien", None)
    if state is not None and state.busy:
        bpy.ops.mien.cancel()
        pump(lambda: not bpy.context.window_manager.mien.busy)


def engines():
    """Processes of engines that this Blender started."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "stat").read_text().rpartition(")")[2].split()
            command = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0] != "Z" and int(words[1]) == os.getpid() and b"mien.serve" in command:
            found.append(int(entry.name))
    return found


def threads():
    """Names of this process's Python threads."""
    import threading

    return [thread.name for thread in threading.enumerate()]
