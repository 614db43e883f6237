# SPDX-License-Identifier: GPL-3.0-or-later
"""Points placed by hand on a frame, and Blender's own trackers as points; both become keys of the track."""

from pathlib import Path
from typing import Any

import blf
import bpy
import gpu
from bpy.props import BoolProperty
from gpu_extras.batch import batch_for_shader

from ..core import landmarks
from ..core.shot import Shot, found, range_of
from ..host import shots
from ..mien.hosts.frames import DIGITS, file_at
from . import runner
from .asking import refuse
from .chain import REFUSED
from .facts import plate_facts
from .props import shot_of, state

REACH = 14.0
"""Pixels of the screen within which a point is taken hold of."""
PLACED, HELD, SHADE = (1.0, 0.75, 0.2, 1.0), (0.3, 0.8, 1.0, 1.0), (0.0, 0.0, 0.0, 1.0)
CROSS = 9


def keys_folder(scene: Any) -> Path:
    """Where keys of a scene's shot are."""
    return Path(shot_of(scene).folder) / "keys"


def picture_size(context: Any) -> tuple[int, int]:
    """Size of the picture in the editor, (0, 0) where there is none."""
    space = context.space_data
    shown = space.image if space.type == "IMAGE_EDITOR" else space.clip
    size = tuple(shown.size) if shown is not None else (0, 0)
    if 0 in size:
        size = tuple(plate_facts(context.scene).get("size", (0, 0)))
    return int(size[0]), int(size[1])


def first_file(shot: Shot) -> tuple[int, str]:
    """The first frame of a shot, and its file.

    Raises:
        ShotError: There is no plate.
    """
    there = found(shot.plate)
    first, _ = range_of(shot, there)
    return first, file_at(there.pattern, first)


def first_of(clip: Any, first: int) -> int:
    """The plate's frame that a clip begins with: its file's number; of a movie the shot's first."""
    number = DIGITS.search(Path(clip.filepath).stem) if clip.source == "SEQUENCE" else None
    return int(number.group(1)) if number else first


def shown_frame(context: Any, first: int, plate: str) -> int:
    """The plate's frame that an editor shows, whatever the scene calls it; ``plate`` is a file of it."""
    space, now = context.space_data, int(context.scene.frame_current)
    if space.type == "CLIP_EDITOR":
        clip = space.clip
        return first_of(clip, first) + now - clip.frame_start + clip.frame_offset
    image = space.image
    if image.source == "SEQUENCE":
        return int(space.image_user.frame_current)
    path = bpy.path.abspath(image.filepath) if image.source == "FILE" else ""
    number = DIGITS.search(Path(path).stem)
    return int(number.group(1)) if number and shots.sequence_of(path) == shots.sequence_of(plate) else now


class MIEN_OT_place_landmarks(bpy.types.Operator):
    """Place eyes, nose and mouth of the face; drag to correct; Enter or another frame keeps them, Esc does not"""

    bl_idname = "mien.place_landmarks"
    bl_label = "Place Landmarks"
    bl_options = {"REGISTER"}
    track: BoolProperty(name="Track", default=True, description="Track again when they are placed")

    @classmethod
    def poll(cls, context: Any) -> bool:
        """Over a picture."""
        space = context.space_data
        return space is not None and space.type in ("IMAGE_EDITOR", "CLIP_EDITOR") and 0 not in picture_size(context)

    def invoke(self, context: Any, event: Any) -> set[str]:
        """Begin on the shown frame, with the points that it has."""
        try:
            self.shot = shot_of(context.scene)
            self.plate = first_file(self.shot)
        except REFUSED as error:
            return refuse(self, context.scene, str(error))
        self.show(shown_frame(context, *self.plate))
        self.size = picture_size(context)
        self.scene = context.scene.session_uid
        self.area = context.area
        kind = type(context.space_data)
        self.drawn = kind, kind.draw_handler_add(self.draw, (context.region,), "WINDOW", "POST_PIXEL")
        context.window_manager.modal_handler_add(self)
        self.say(context)
        return {"RUNNING_MODAL"}

    def show(self, frame: int) -> None:
        """Take up the points that a frame has."""
        self.frame, self.held = frame, ""
        self.kept = landmarks.read(Path(self.shot.folder) / "keys", frame, self.shot.face)
        self.points = dict(self.kept)

    def say(self, context: Any) -> None:
        """What to do next, in the editor's header."""
        wanted = landmarks.next_unplaced(self.points)
        does = f"Click the {wanted} (left and right of the picture)" if wanted else "Drag to correct, Enter to keep"
        context.area.header_text_set(f"Frame {self.frame}: {does}. Backspace takes the last back, Esc leaves.")
        context.area.tag_redraw()

    def at(self, context: Any, event: Any) -> landmarks.Point:
        """Where the pointer is, in plate pixels from the top left."""
        across, up = context.region.view2d.region_to_view(event.mouse_region_x, event.mouse_region_y)
        return across * self.size[0], (1 - up) * self.size[1]

    def on_screen(self, region: Any, point: landmarks.Point) -> tuple[float, float]:
        """Where a point is in the region."""
        x, y = region.view2d.view_to_region(point[0] / self.size[0], 1 - point[1] / self.size[1], clip=False)
        return float(x), float(y)

    def draw(self, region: Any) -> None:
        """A cross and a name at each point, dark around light so that it is seen on any picture."""
        shader = gpu.shader.from_builtin("UNIFORM_COLOR")
        for name, point in self.points.items():
            x, y = self.on_screen(region, point)
            color = HELD if name == self.held else PLACED
            for thick, shade in ((2, SHADE), (1, color)):
                for long, wide in ((CROSS + thick, thick), (thick, CROSS + thick)):
                    corners = [(x - long, y - wide), (x + long, y - wide), (x - long, y + wide), (x + long, y + wide)]
                    shader.bind()
                    shader.uniform_float("color", shade)
                    batch_for_shader(shader, "TRI_STRIP", {"pos": corners}).draw(shader)
            blf.size(0, 12)
            blf.enable(0, blf.SHADOW)
            blf.shadow(0, 3, *SHADE)
            blf.color(0, *color)
            blf.position(0, x + CROSS + 6, y + 4, 0)
            blf.draw(0, name)
            blf.disable(0, blf.SHADOW)

    def modal(self, context: Any, event: Any) -> set[str]:
        """Follow the pointer; everything else goes on to the editor."""
        if context.area != self.area or context.region is None or 0 in picture_size(context):
            return {"PASS_THROUGH"}
        self.turn(context)
        if event.type == "LEFTMOUSE" and event.value == "PRESS":
            screen = {name: self.on_screen(context.region, point) for name, point in self.points.items()}
            self.held = landmarks.near(screen, (event.mouse_region_x, event.mouse_region_y), REACH)
            self.held = self.held or landmarks.next_unplaced(self.points)
            if self.held:
                self.points[self.held] = self.at(context, event)
        elif event.type == "MOUSEMOVE" and self.held:
            self.points[self.held] = self.at(context, event)
        elif event.type == "LEFTMOUSE" and event.value == "RELEASE":
            self.held = ""
        elif event.type == "BACK_SPACE" and event.value == "PRESS" and self.points:
            self.points.popitem()
        elif event.type in ("RET", "NUMPAD_ENTER") and event.value == "PRESS":
            return self.keep(context)
        elif event.type == "ESC" and event.value == "PRESS":
            self.leave(context)
            return {"CANCELLED"}
        else:
            return {"PASS_THROUGH"}
        self.say(context)
        return {"RUNNING_MODAL"}

    def turn(self, context: Any) -> None:
        """Another frame is shown: what was placed on the one before is kept if it is whole."""
        frame = shown_frame(context, *self.plate)
        if frame == self.frame:
            return
        if self.points != self.kept and not landmarks.next_unplaced(self.points):
            try:
                self.write()
            except REFUSED as error:
                self.report({"WARNING"}, str(error))
        self.show(frame)
        self.say(context)

    def write(self) -> None:
        """Write the key of the frame.

        Raises:
            LandmarkError, OSError: Points are missing, or nothing can be written.
        """
        document = landmarks.key(self.points, self.shot.face)
        landmarks.write(Path(self.shot.folder) / "keys", self.frame, document)
        state().state = f"Key on frame {self.frame}"

    def keep(self, context: Any) -> set[str]:
        """Write the key, and track again with it."""
        try:
            if shots.scene_of(self.scene) is None:
                raise landmarks.LandmarkError("The scene is gone.")
            self.write()
        except REFUSED as error:
            self.report({"WARNING"}, str(error))
            return {"RUNNING_MODAL"}
        self.leave(context)
        if self.track and runner.clock.running() is None:
            bpy.ops.mien.track()
        return {"FINISHED"}

    def leave(self, context: Any) -> None:
        """Take the drawing back."""
        kind, handle = self.drawn
        kind.draw_handler_remove(handle, "WINDOW")
        self.area.header_text_set(None)
        self.area.tag_redraw()


class MIEN_OT_import_markers(bpy.types.Operator):
    """Blender's trackers called left eye, right eye, nose, left mouth, right mouth become keys of the track"""

    bl_idname = "mien.import_markers"
    bl_label = "Import Trackers as Keys"
    bl_options = {"REGISTER"}
    only_keyed: BoolProperty(
        name="Only Keyed", description="Only frames on which a marker was placed by hand; else every tracked frame"
    )

    @classmethod
    def poll(cls, context: Any) -> bool:
        """Where a clip is."""
        return bool(len(bpy.data.movieclips))

    def execute(self, context: Any) -> set[str]:
        """Write a key for each frame that has all of the trackers."""
        scene = context.scene
        space = context.space_data
        clip = getattr(space, "clip", None) if space is not None and space.type == "CLIP_EDITOR" else None
        clip = clip or scene.active_clip or bpy.data.movieclips[0]
        try:
            shot = shot_of(scene)
            first = first_of(clip, first_file(shot)[0])
            tracks = {
                track.name: [
                    (first + marker.frame - 1 + clip.frame_offset, marker.co[0], marker.co[1])
                    for marker in track.markers
                    if not marker.mute and (marker.is_keyed or not self.only_keyed)
                ]
                for track in clip.tracking.tracks
            }
            size = tuple(clip.size) if clip.size[0] else tuple(plate_facts(scene).get("size", (0, 0)))
            frames = landmarks.by_frame(tracks, size)
            for frame, points in frames.items():
                landmarks.write(keys_folder(scene), frame, landmarks.key(points, scene.mien.face))
        except REFUSED as error:
            return refuse(self, context.scene, str(error))
        state().error = ""
        state().state = f"Keys on {len(frames)} frames: press Track"
        return {"FINISHED"}


class MIEN_OT_clear_keys(bpy.types.Operator):
    """Remove the keys that were placed by hand, those of this frame or all of the shot's"""

    bl_idname = "mien.clear_keys"
    bl_label = "Clear Keys"
    bl_options = {"REGISTER"}
    all: BoolProperty(name="All Frames")

    def execute(self, context: Any) -> set[str]:
        """Remove their files."""
        try:
            folder, frame = keys_folder(context.scene), str(context.scene.frame_current)
            if MIEN_OT_place_landmarks.poll(context):
                frame = str(shown_frame(context, *first_file(shot_of(context.scene))))
        except REFUSED as error:
            return refuse(self, context.scene, str(error))
        gone = [path for path in folder.glob("*.json") if self.all or path.stem.rpartition("@")[2] == frame]
        for path in gone:
            path.unlink()
        state().state = f"{len(gone)} keys removed: press Track"
        return {"FINISHED"}


CLASSES = (MIEN_OT_place_landmarks, MIEN_OT_import_markers, MIEN_OT_clear_keys)
