"""``mien qc``: a page, and figures for programs, on what a render left."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

from mien.progress import Note, Outcome, Tell, ranges
from mien.qc.figures import KINDS, Judged, Limits, judge, summary
from mien.qc.page import write_json, write_page
from mien.qc.shot import MOST_WORDS, Said, gathered, open_rendered, recipe_in, said_path, write_said
from mien.recipe import Recipe, RecipeError

RELEASE = "release"
"""What ``--fail-on`` calls whatever is wrong with the shot as a whole, such as a release that has ended."""


@dataclass(frozen=True)
class QcArguments:
    """What ``mien qc`` was asked for.

    Attributes:
        path: Folder of a render, or its recipe.
        shot: Which shot of the folder, where it holds several.
        output: Page to write; beside it goes the JSON. Without one both lie in the folder.
        fail_on: Kinds of flags, ``release``, or ``any``: whatever is found of them makes the command fail.
        limits: By name, beyond what a frame is flagged.
        flags: Frame and words of what somebody has to say.
        by: Who says it.
    """

    path: Path
    shot: str | None = None
    output: Path | None = None
    fail_on: tuple[str, ...] = ()
    limits: Mapping[str, str] = field(default_factory=dict)
    flags: tuple[tuple[str, str], ...] = ()
    by: str = ""


def check_shot(arguments: QcArguments, tell: Tell) -> Outcome:
    """Write the report on a shot; frames with what ``fail_on`` names count as failed.

    Raises:
        RecipeError: Something in the arguments cannot be.
        MienError: There is no render, or nothing can be written.
    """
    limits, kinds = _limits(arguments.limits), _kinds(arguments.fail_on)
    path = recipe_in(arguments.path, arguments.shot)
    shot = open_rendered(path)
    if arguments.flags:
        first, last = shot.recipe.plate.first, shot.recipe.plate.last
        said = [*shot.said, *_said(arguments.flags, arguments.by, first, last)]
        write_said(said_path(shot.folder, shot.name), said)
        shot = open_rendered(path)
    judged = judge(shot, limits)
    page = arguments.output or shot.folder / f"{shot.name}.qc.html"
    write_page(page, judged)
    figures = page.with_suffix(".json")
    write_json(figures, judged)
    for text in judged.warnings:
        tell(Note(text, "warning"))
    tell(Note(summary(judged)))
    return Outcome((str(page), str(figures)), done=len(shot.frames), failed=_failed(judged, kinds))


def write_report(recipe: Recipe) -> tuple[str, str]:
    """Write the page and the figures of what was rendered, where the recipe writes; returns their names.

    Raises:
        MienError: Nothing can be written there.
    """
    folder = Path(recipe.output.folder)
    judged = judge(gathered(recipe, folder), Limits())
    page = folder / f"{recipe.output.name}.qc.html"
    write_page(page, judged)
    write_json(page.with_suffix(".json"), judged)
    return str(page), str(page.with_suffix(".json"))


def _failed(judged: Judged, kinds: frozenset[str]) -> dict[int, str]:
    failed: dict[int, str] = {}
    for flag in judged.flags:
        if flag.kind in kinds:
            failed[flag.frame] = " ".join(filter(None, (failed.get(flag.frame, ""), flag.words)))
    if RELEASE in kinds and (warning := judged.shot.likeness.get("warning")):
        first = judged.shot.recipe.plate.first
        failed[first] = " ".join(filter(None, (warning, failed.get(first, ""))))
    return failed


def _kinds(names: Sequence[str]) -> frozenset[str]:
    known = {*KINDS, RELEASE}
    for name in names:
        if name not in known and name != "any":
            raise RecipeError(f"--fail-on {name!r} is not known: choose any, {', '.join([*KINDS, RELEASE])}.")
    return frozenset(known) if "any" in names else frozenset(names)


def _limits(given: Mapping[str, str]) -> Limits:
    known = [one.name for one in fields(Limits)]
    values = {}
    for name, text in given.items():
        if name not in known:
            raise RecipeError(f"--limit {name!r} is not known: choose one of {', '.join(known)}.")
        try:
            values[name] = float(text)
        except ValueError as error:
            raise RecipeError(f"--limit {name}={text}: write a number.") from error
        least = 1.0 if name in ("sharpness", "grain") else 0.0
        if not least <= values[name] < 1e6:
            raise RecipeError(f"--limit {name}={text}: write a number from {least:g} up.")
    return Limits(**values)


def _said(flags: Sequence[tuple[str, str]], by: str, first: int, last: int) -> list[Said]:
    if not by.strip():
        raise RecipeError("Say who flags the frame, with --by NAME.")
    said = []
    for number, words in flags:
        try:
            frame = int(number)
        except ValueError as error:
            raise RecipeError(f"--flag {number}={words}: write FRAME=WORDS, as in 1003='soft at the jaw'.") from error
        if not first <= frame <= last:
            raise RecipeError(f"--flag {frame}: the shot runs from {ranges([first])} to {last}.")
        said.append(Said(frame, words.strip()[:MOST_WORDS], by.strip()[:80]))
    return said
