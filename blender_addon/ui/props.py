# SPDX-License-Identifier: GPL-3.0-or-later
"""Properties: a scene's shot, what is said of running work, and preferences.

Nothing here is needed by a render: what changes pixels are sockets of nodes.
"""

import os
from pathlib import Path
from typing import Any

import bpy
from bpy.props import (
    BoolProperty,
    CollectionProperty,
    EnumProperty,
    FloatProperty,
    IntProperty,
    PointerProperty,
    StringProperty,
)

from ..core.shot import Shot, ShotError, named

PACKAGE = __package__.rpartition(".")[0]
FILE, FOLDER = "FILE_PATH", "DIR_PATH"
PASSING = {"SKIP_SAVE"}
A_FILE = {"subtype": FILE, "options": {"PATH_SUPPORTS_BLEND_RELATIVE"}}
A_FOLDER = {"subtype": FOLDER, "options": {"PATH_SUPPORTS_BLEND_RELATIVE"}}
"""Without the option Blender draws a path that begins with // in red."""


class MienFace(bpy.types.PropertyGroup):
    """A face that tracking found."""

    found: StringProperty(name="Found As", description="What tracking called this face")
    renamed: StringProperty(name="Name", description="What it is called from the next Track on")
    ignored: BoolProperty(name="Ignore", description="Leave this face out from the next Track on")
    first: IntProperty(name="First Frame")
    last: IntProperty(name="Last Frame")
    lost: StringProperty(name="Lost", description="Frames in which it was not found")


class MienSource(bpy.types.PropertyGroup):
    """A photograph, or a take, of the performer."""

    path: StringProperty(name="Photograph", **A_FILE, description="A photograph or a take of the performer")


class MienTraining(bpy.types.PropertyGroup):
    """What a training is started with."""

    kind: EnumProperty(
        name="Kind",
        items=[
            ("swap", "Swap", "Two face sets: a shared encoder and a decoder for each person"),
            ("paired", "Paired", "A handful of frames before and after: the change is learned"),
        ],
    )
    a: StringProperty(
        name="Plate's Faces", **A_FOLDER, description="Face set of the person in the plate; of pairs, frames before"
    )
    b: StringProperty(
        name="Performer's Faces", **A_FOLDER, description="Face set of the performer; of pairs, frames after"
    )
    output: StringProperty(
        name="Identity", **A_FILE, description="Identity file that is written; training goes on from it"
    )
    steps: IntProperty(
        name="Steps", default=50000, min=1, max=10_000_000, description="Steps after which the training ends"
    )
    preview: IntProperty(name="Preview Every", default=250, min=10, max=100_000, description="Steps between previews")
    size: IntProperty(
        name="Size", default=128, min=64, max=1024, description="Side of the face that is learned, in pixels"
    )
    preset: EnumProperty(
        name="Preset",
        items=[("classic", "Classic", "The original 64 pixels"), ("df", "DF", "Keeps the performer's look"),
               ("liae", "LIAE", "Takes more of the plate's light")],
        default="df",
    )  # fmt: skip


class MienShot(bpy.types.PropertyGroup):
    """The shot of a scene."""

    name: StringProperty(name="Name", description="What files of the shot are called; the scene's name if empty")
    plate: StringProperty(name="Plate", **A_FILE, description="One frame of the plate, its pattern, or a movie")
    first: IntProperty(name="First", description="First frame of the shot; with Last at 0, as the files are numbered")
    last: IntProperty(name="Last", description="Last frame of the shot")
    colorspace: StringProperty(name="Color Space", description="Color space of the plate; else header and file rules")
    layer: StringProperty(name="Layer", description="Layer or part of a multi-layer EXR")
    ocio: StringProperty(name="OCIO Config", **A_FILE, description="OpenColorIO config; else $OCIO, else ACES")
    folder: StringProperty(
        name="Folder", **A_FOLDER, description="Where tracks, faces and mattes go; beside the file if empty"
    )
    take: IntProperty(
        name="Take", default=1, min=1, max=999, description="Count up to keep an older conversion beside the new one"
    )
    pixels: EnumProperty(
        name="Pixels", items=[("half", "Half", "16-bit float faces"), ("float", "Float", "32-bit float faces")]
    )
    track: StringProperty(name="Track", **A_FILE, description="Track file; the shot's own if empty")
    identity: StringProperty(name="Identity", **A_FILE, description="Whose face goes on: .safetensors or .dfm")
    face: StringProperty(name="Face", description="Which tracked face is replaced; the most prominent if empty")
    faces: CollectionProperty(type=MienFace)
    active_face: IntProperty()
    roto: StringProperty(
        name="Hold-out", **A_FILE, description="Mattes of what passes in front, as roto.####.exr, or one still"
    )
    sources: CollectionProperty(type=MienSource)
    likeness: StringProperty(name="Likeness", description="Whose likeness the photographs show")
    release: StringProperty(name="Release", description="Under which agreement it is used")
    confidence: FloatProperty(
        name="Confidence", default=0.5, min=0.01, max=1, description="Trust below which a face counts as lost"
    )
    smallest: FloatProperty(
        name="Smallest", default=24, min=4, max=10000, description="Width of the smallest face to look for, in pixels"
    )
    check_renders: EnumProperty(
        name="Before Renders",
        items=[
            ("OFF", "Do Not Check", "Missing frames show the plate"),
            ("WARN", "Warn", "Say which frames are missing or changed"),
            ("ERROR", "Stop", "End a render in the background where frames are missing or changed: for farms"),
        ],
        default="WARN",
    )
    live: BoolProperty(
        name="Live", options=PASSING, description="Convert the shown frame again whenever one of its settings changes"
    )
    training: PointerProperty(type=MienTraining)


class MienState(bpy.types.PropertyGroup):
    """What is said of running work; never saved."""

    about: IntProperty(options=PASSING, description="Number of the scene that is spoken of")
    busy: BoolProperty(options=PASSING)
    task: StringProperty(options=PASSING)
    progress: FloatProperty(options=PASSING, min=0, max=1, subtype="FACTOR")
    text: StringProperty(options=PASSING)
    error: StringProperty(options=PASSING)
    warning: StringProperty(options=PASSING)
    missing: StringProperty(options=PASSING)
    state: StringProperty(options=PASSING)
    preview: StringProperty(options=PASSING)
    engine: StringProperty(options=PASSING)
    training: StringProperty(options=PASSING)
    paused: BoolProperty(options=PASSING)


class MienPreferences(bpy.types.AddonPreferences):
    """Where the engine is, and what it may use."""

    bl_idname = PACKAGE

    engine_path: StringProperty(
        name="Engine's Python", subtype=FILE,
        description="Python in which mien is installed; found by itself after 'mien install blender'",
    )  # fmt: skip
    engine_package: StringProperty(
        name="Package", default="mien[engine]", description="What Install Engine installs: a name, a wheel or a folder"
    )
    device: EnumProperty(
        name="Device",
        items=[
            ("auto", "Automatic", "A graphics card where there is one"),
            ("cpu", "Processor", "No graphics card"),
            ("cuda", "CUDA", "A graphics card of NVIDIA's"),
        ],
    )
    memory: FloatProperty(
        name="Memory", default=4.0, min=0.25, max=512, description="Pictures that the engine keeps warm, in GiB"
    )

    submit: StringProperty(
        name="Submit Jobs With",
        description="Program that Farm Job hands the job's folder to, as 'deadline bundle gui-submit'; "
        "empty: the job is only written",
    )

    def draw(self, context: Any) -> None:
        """The page in the preferences."""
        layout = self.layout
        layout.use_property_split = True
        layout.prop(self, "engine_path")
        row = layout.row()
        row.prop(self, "device")
        row.prop(self, "memory")
        row = layout.row()
        row.operator("mien.check_engine", icon="CHECKMARK")
        state = context.window_manager.mien
        for line in (state.engine, state.error):
            if line:
                layout.label(text=line.splitlines()[0], icon="ERROR" if line == state.error else "INFO")
        layout.prop(self, "submit")
        box = layout.box()
        box.prop(self, "engine_package")
        row = box.row()
        row.operator("mien.install_engine", icon="IMPORT")
        row.operator("mien.open_log", icon="TEXT")
        if not bpy.app.online_access:
            box.label(text="Installing needs Preferences > System > Allow Online Access")


def preferences() -> Any:
    """The extension's preferences."""
    return bpy.context.preferences.addons[PACKAGE].preferences


def state() -> Any:
    """What is said of running work."""
    return bpy.context.window_manager.mien


def speaking(scene: int) -> Any:
    """What is said of running work, from now on of the scene with this number: words on another one's shot go."""
    said = state()
    if said.about != scene:
        said.about, said.missing, said.state, said.warning, said.error = scene, "", "", "", ""
    return said


def absolute(path: str) -> str:
    """A path of a property, absolute; empty stays empty."""
    return os.path.normpath(bpy.path.abspath(path)) if path else ""


def shot_of(scene: Any) -> Shot:
    """A scene's shot as plain data.

    Raises:
        ShotError: Nobody said where its files go.
    """
    entered = scene.mien
    name = named(entered.name or scene.name)
    folder = absolute(entered.folder)
    if not folder:
        if not bpy.data.filepath:
            raise ShotError("Save the file, or choose the shot's folder: tracks, faces and mattes go there.")
        folder = str(Path(bpy.data.filepath).parent / "mien" / name)
    return Shot(
        name=name,
        plate=absolute(entered.plate),
        first=entered.first,
        last=entered.last,
        folder=folder,
        take=entered.take,
        track=absolute(entered.track),
        identity=absolute(entered.identity),
        face=entered.face,
        roto=absolute(entered.roto),
        colorspace=entered.colorspace,
        part=entered.layer,
        ocio=absolute(entered.ocio) or os.environ.get("OCIO", ""),
        pixels=entered.pixels,
    )


def name_shot(scene: Any) -> None:
    """Keep the name of a shot's files, so that renaming the scene loses none."""
    if not scene.mien.name:
        scene.mien.name = named(scene.name)


CLASSES = (MienFace, MienSource, MienTraining, MienShot, MienState, MienPreferences)
