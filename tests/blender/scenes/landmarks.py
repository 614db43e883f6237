"""Five points of a face placed and dragged with the mouse, kept by Enter, or by going to the next frame.

steps(hands, ZIP, FACTS, EDITOR): the made shot; EDITOR is IMAGE_EDITOR or CLIP_EDITOR. In the clip editor the clip
lies elsewhere on the timeline than its numbers say.
"""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import bpy

INSIDE = Path(__file__).parents[1] / "inside"
SPOTS = {"left eye": (70, 60), "right eye": (110, 60), "nose": (90, 80), "left mouth": (76, 104),
         "right mouth": (104, 104)}  # fmt: skip
"""Plate pixels from the top left."""
START = 500


def steps(hands, archive, facts_file, editor="IMAGE_EDITOR"):
    sys.path.insert(0, str(INSIDE))
    import host

    facts = SimpleNamespace(**json.loads(Path(facts_file).read_text()))
    host.install(archive)
    scene = hands.window.scene
    folder = Path(facts_file).parent / f"landmarks_{editor.lower()}"
    host.set_up(scene, facts, folder)
    area = hands.area("VIEW_3D")
    area.type = editor
    space = area.spaces[0]
    if editor == "CLIP_EDITOR":
        scene.frame_end = START + 20
        scene.frame_set(START + 1)
        space.clip = bpy.data.movieclips.load(facts.plate % facts.first)
        space.clip.frame_start = START
    else:
        scene.frame_set(facts.first + 1)
        space.image = bpy.data.images.load(facts.plate % (facts.first + 1))
    space.show_region_ui = True
    region = hands.region(area)
    yield 1.0
    hands.region(area, "UI").active_panel_category = "mien"
    with hands.over(area):
        bpy.ops.image.view_all(fit_view=True) if editor == "IMAGE_EDITOR" else bpy.ops.clip.view_all(fit_view=True)
    yield 1.0
    with hands.over(area):
        bpy.ops.mien.place_landmarks("INVOKE_DEFAULT", track=False)
    yield 0.5

    def on_screen(point):
        x, y = region.view2d.view_to_region(point[0] / facts.width, 1 - point[1] / facts.height, clip=False)
        return region.x + x, region.y + y

    for name, spot in SPOTS.items():
        begun = (spot[0] + 6, spot[1] - 4) if name == "nose" else spot
        yield from hands.click(*on_screen(begun))
        yield 0.1
    yield from hands.drag(on_screen((96, 76)), on_screen(SPOTS["nose"]))
    yield 0.5
    hands.photograph(f"{editor.lower()}_landmarks")
    frame = facts.first + 1
    if editor == "CLIP_EDITOR":
        scene.frame_set(START + 2)
        yield from hands.point(*on_screen((20, 20)))
        yield 0.5
        check(hands, folder, frame)
        for spot in SPOTS.values():
            yield from hands.click(*on_screen(spot))
            yield 0.1
        frame += 1
    yield from hands.press("RET")
    yield 0.5
    check(hands, folder, frame)


def check(hands, folder, frame):
    """The frame's key holds the points where they were placed."""
    path = folder / "keys" / f"{frame}.json"
    if hands.check(path.is_file(), f"the key of frame {frame} is written"):
        placed = json.loads(path.read_text())["points"]
        worst = max(abs(placed[name][axis] - SPOTS[name][axis]) for name in SPOTS for axis in (0, 1))
        hands.check(worst < 1.0, f"points are where they were placed, within {worst:.2f} pixels")
