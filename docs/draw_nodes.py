"""Draw node graphs and write the table of nodes for Nuke, from the groups' text: ``python docs/draw_nodes.py``.

Writes ``docs/pictures/nuke_*.png`` and ``docs/nuke_nodes.md``.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT / "tests" / "nuke"))

from nk.facts import Knob, user_knobs  # noqa: E402
from nk.script import Node, Script  # noqa: E402

GROUPS = ROOT / "nuke_plugin" / "groups"
ORDER = ("MienTrack", "MienConvert", "MienComp")
"""Groups that come first; the others follow by name."""
DRAWN = ("MienConvert", "MienComp")
"""Groups whose inside is drawn."""
SHAPE = {"Input": "#5a5a5a", "Output": "#5a5a5a", "Read": "#8a8a4a", "Keymix": "#4f6f8f", "Switch": "#6a6a6a"}
KINDS = {
    "Double_Knob": "number", "Int_Knob": "whole number", "Boolean_Knob": "switch", "Enumeration_Knob": "menu",
    "File_Knob": "file", "String_Knob": "text", "Color_Knob": "color", "PyScript_Knob": "button", "Link_Knob": "link",
    "Multiline_Eval_String_Knob": "text",
}  # fmt: skip


def placed(nodes: list[Node], last: Node) -> dict[Node, tuple[float, float]]:
    """A place for every node: rows by how far they are from the end, first inputs straight above."""
    depth: dict[Node, int] = {}

    def deepen(node: Node, row: int) -> None:
        if depth.get(node, -1) < row:
            depth[node] = row
            for source in node.inputs:
                if source is not None:
                    deepen(source, row + 1)

    deepen(last, 0)
    column: dict[Node, float] = {}
    taken: set[tuple[int, float]] = set()

    def place(node: Node, x: float) -> None:
        if node in column:
            return
        while (depth[node], x) in taken:
            x += 1
        column[node] = x
        taken.add((depth[node], x))
        for index, source in enumerate(node.inputs):
            if source is not None:
                place(source, x + index)

    place(last, 0)
    return {node: (column[node], float(depth[node])) for node in nodes if node in depth}


def draw(nodes: list[Node], last: Node, path: Path, title: str) -> None:
    """A picture of a graph: data flows down, the first input enters straight, others carry their number."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.patches import FancyBboxPatch

    places = placed(nodes, last)
    rows = max(y for _, y in places.values()) + 1
    columns = max(x for x, _ in places.values()) + 1
    figure, axes = pyplot.subplots(figsize=(2.3 * columns + 0.4, 0.62 * rows + 0.5), dpi=110)
    for node, (x, y) in places.items():
        for index, source in enumerate(node.inputs):
            if source not in places:
                continue
            sx, sy = places[source]
            end = (x - 0.25 + 0.25 * min(index, 2) if len(node.inputs) > 1 else x, y + 0.24)
            axes.annotate("", xy=end, xytext=(sx, sy - 0.24), arrowprops={"arrowstyle": "-|>", "color": "#999999"})
            if len(node.inputs) > 1:
                axes.text(end[0] + 0.04, end[1] + 0.12, str(index), fontsize=6, color="#bbbbbb")
    for node, (x, y) in places.items():
        color = SHAPE.get(node.cls, "#3f5f4f")
        box = FancyBboxPatch(
            (x - 0.42, y - 0.22), 0.84, 0.44, boxstyle="round,pad=0.02", fc=color, ec="#dddddd", lw=0.6
        )
        axes.add_patch(box)
        label = (
            node.name if node.cls in ("Input", "Output") or node.name.startswith("Mien") else f"{node.name}\n{node.cls}"
        )
        axes.text(x, y, label, ha="center", va="center", fontsize=7, color="white")
    axes.set_xlim(-0.6, columns - 0.4)
    axes.set_ylim(-0.5, rows - 0.3)
    axes.axis("off")
    axes.set_title(title, color="white", fontsize=9)
    figure.patch.set_facecolor("#2b2b2b")
    figure.savefig(path, facecolor=figure.get_facecolor(), bbox_inches="tight", metadata={"Software": None})
    pyplot.close(figure)


def shot_script() -> Node:
    """The script of the page's first shot, as text and then as a graph."""
    convert, edge, comp = (
        (GROUPS / f"{name}.gizmo").read_text("utf-8") for name in ("MienConvert", "MienMatteEdge", "MienComp")
    )
    track = (GROUPS / "MienTrack.gizmo").read_text("utf-8")
    comp = comp.replace("Group {\n", "Group {\n inputs 2\n", 1)
    text = "Read {\n inputs 0\n name Plate\n}\nset P [stack 0]\n" + track + convert + edge + f"push $P\n{comp}"
    return Script(text + "Write {\n name Write1\n}\n").root


def table(names: list[str]) -> str:
    """The page of nodes and knobs."""
    lines = [
        "# Nodes and knobs in Nuke",
        "",
        "Written by `python docs/draw_nodes.py` from the groups in `nuke_plugin/groups`. Numbers can be keyed; sizes",
        "in face widths look the same at every resolution. All but MienTrack, MienConvert and MienComp pass their",
        "first input through: what they do is done by the engine and seen once MienConvert renders.",
        "",
        "![a shot](pictures/nuke_shot.png)",
        "",
    ]
    for name in names:
        group = Script((GROUPS / f"{name}.gizmo").read_text("utf-8")).root.children[0]
        help, _, inputs = group.values.get("help", "").partition("\n")
        lines += [f"## {name}", "", help, ""]
        if name in DRAWN:
            lines += [f"![inside {name}](pictures/nuke_{name.lower()}.png)", ""]
        arrows = [line.partition(": ") for line in inputs.splitlines() if ": " in line]
        lines += [f"* input `{port}`: {said}" for port, _, said in arrows] + ([""] if arrows else [])
        rows = [row(knob, group.values.get(knob.name)) for knob in user_knobs(group).values() if shown(knob)]
        if rows:
            lines += ["| knob | | default | |", "|---|---|---|---|", *rows, ""]
    return "\n".join(lines).rstrip() + "\n"


def shown(knob: Knob) -> bool:
    """Whether an artist sees a knob that does something."""
    return knob.kind in KINDS and "+INVISIBLE" not in knob.flags


def row(knob: Knob, held: str | None) -> str:
    """A line of the table."""
    kind = KINDS[knob.kind]
    if knob.menu:
        kind = "menu: " + ", ".join(knob.menu)
    elif knob.range:
        kind += f", {knob.range[0]:g} to {knob.range[1]:g}"
    default = "" if knob.kind in ("PyScript_Knob", "Link_Knob") else (held or "").replace("<", "&lt;")
    default = {"true": "on", "false": "off"}.get(default, default)
    tip = knob.tooltip.replace("\n", " ").replace("|", "\\|").replace("<", "&lt;")
    name = knob.label or knob.name
    step, _, rest = knob.name.partition("__")
    name = f"{step.replace('_', ' ')}: {name}" if rest else name
    return f"| {name} | {kind} | {default} | {tip} |"


def ordered() -> list[str]:
    """Names of the groups in the order of the page."""
    found = sorted(path.stem for path in GROUPS.glob("*.gizmo"))
    return [*ORDER, *(name for name in found if name not in ORDER)]


def main() -> None:
    """Write the page and the pictures."""
    (HERE / "nuke_nodes.md").write_text(table(ordered()), "utf-8")
    for name in DRAWN:
        group = Script((GROUPS / f"{name}.gizmo").read_text("utf-8")).root.children[0]
        last = next(child for child in group.children if child.cls == "Output")
        draw(group.children, last, HERE / "pictures" / f"nuke_{name.lower()}.png", f"inside {name}")
    script = shot_script()
    draw(script.children, script.children[-1], HERE / "pictures" / "nuke_shot.png", "a shot")


if __name__ == "__main__":
    main()
