"""What the engine does for each request that waits in a lane; everything heavy is imported here."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from reprlib import repr as brief
from typing import Any

from mien import job as jobs
from mien import recipe as recipes
from mien import session as sessions
from mien.chain import declaration, face_in
from mien.color import Colors, load
from mien.commands import PlateArguments, TrackArguments, export_track, track_shot
from mien.commands.convert import ConvertArguments, make_identity, run_job
from mien.commands.farm import FarmArguments, farm
from mien.commands.fit import fit_plate
from mien.declare import nearest
from mien.files.cache import open_cache
from mien.files.shot import MOVIES, STILLS, open_shot, read_header
from mien.files.tracks import read_tracks
from mien.footage import plate_space
from mien.inspection import facts_of
from mien.progress import Outcome, Tell
from mien.recipe import Recipe
from mien.run import Rendered, freshness
from mien.serve.desk import Cancelled, Ticket
from mien.serve.fence import Fence
from mien.serve.requests import (
    Check,
    Clear,
    Export,
    Farm,
    Fit,
    Id,
    Inspect,
    Job,
    Perform,
    Render,
    RequestError,
    Show,
    Solve,
    Status,
    Track,
    Train,
)
from mien.session import Session, View
from mien.session.view import LAYERS
from mien.tracking import lost
from mien.train.control import Control

LIBRARIES = ("torch", "numpy", "OpenImageIO", "opencolorio", "av", "opencv-python-headless", "safetensors")
"""Whose versions a status tells."""
INNER = ("layer", "host", "full", "stmap", "solve")
"""Folders that a render makes in its output folder."""


class Work:
    """The warm engine at work on requests."""

    def __init__(self, session: Session, device: str, fence: Fence) -> None:
        self.session = session
        self._device = device
        self._fence = fence
        self._controls: dict[Id, Control] = {}

    def perform(self, ticket: Ticket, tell: Tell, unwanted: Callable[[], bool]) -> Mapping[str, Any]:
        """The facts of the answer to a ticket.

        Raises:
            RequestError, RecipeError, MienError: What was asked for cannot be.
            Cancelled: It is not wanted any more.
        """
        request = ticket.request
        try:
            if isinstance(request, Show):
                return self._show(request, unwanted)
            if isinstance(request, Render):
                return self._render(request, tell, unwanted)
            if isinstance(request, Solve):
                return self._solve(request, tell, unwanted)
            if isinstance(request, Check):
                return self._check(request)
            if isinstance(request, Farm):
                return self._farm(request)
            if isinstance(request, Inspect):
                return inspect(request)
            if isinstance(request, Perform):
                return self._identity(request, tell)
            if isinstance(request, Fit):
                return self._fit(request, tell)
            if isinstance(request, Track):
                return self._track(request, tell)
            if isinstance(request, Export):
                return self._export(request)
            if isinstance(request, Train):
                return self._train(ticket, request, tell)
            if isinstance(request, Clear):
                self.session.clear()
                return {}
            if isinstance(request, Status):
                return self.status()
        except sessions.Cancelled as stopped:
            raise Cancelled from stopped
        raise RequestError(f"{ticket.do} is not done here.")

    def status(self) -> Mapping[str, Any]:
        """Device, memory, work done and versions."""
        facts = self.session.status()
        return {"ready": True, **facts, "versions": {**versions(), **facts["versions"]}}

    def _show(self, request: Show, unwanted: Callable[[], bool]) -> Mapping[str, Any]:
        for layer in request.layers:
            if layer not in LAYERS:
                raise RequestError(f"render cannot show {brief(layer)}{nearest(layer, LAYERS)}")
        if not request.layers:
            raise RequestError(f"render: layers is empty. Choose some of {', '.join(LAYERS)}.")
        recipe, folder = self._recipe(request)
        view = View(recipe, request.frame, request.scale, request.region, request.layers)
        if not request.write:
            return asdict(self.session.show(view, unwanted))
        if "host" not in recipe.output.write:
            raise RequestError("render: a frame is written as host sequences. Add 'host' to the recipe's output.")
        self._fence.outputs(Path(recipe.output.folder), INNER, folder)
        return self.session.place(view, unwanted)

    def _solve(self, request: Solve, tell: Tell, unwanted: Callable[[], bool]) -> Mapping[str, Any]:
        recipe, folder = self._recipe(request)
        self._fence.outputs(Path(recipe.output.folder), INNER, folder)
        self.session.solve(recipe, tell, unwanted)
        job = self.session.open(recipe)
        return {"curves": curve_files(recipe), "color": told_spaces(job.colors, job.space), "widths": widths(job)}

    def _render(self, request: Render, tell: Tell, unwanted: Callable[[], bool]) -> Mapping[str, Any]:
        recipe, folder = self._recipe(request)
        self._fence.outputs(Path(recipe.output.folder), INNER, folder)
        session, force = self.session, request.force

        def rendered(chosen: Sequence[int]) -> Rendered:
            return session.render(recipe, chosen, tell, unwanted, force=force)

        job = session.open(recipe)
        outcome = run_job(job, request.frames, force, tell, rendered)
        return {**plain(outcome), "curves": curve_files(recipe), "color": told_spaces(job.colors, job.space)}

    def _check(self, request: Check) -> Mapping[str, Any]:
        recipe, _ = self._recipe(request)
        job = self.session.open(recipe)
        first, last = request.frames or (recipe.plate.first, recipe.plate.last)
        inside = [frame for frame in job.shot.frames if first <= frame <= last]
        no_plate = [frame for frame in job.shot.missing if first <= frame <= last]
        found = freshness(job, inside)
        return {**asdict(found), "no_plate": no_plate}

    def _farm(self, request: Farm) -> Mapping[str, Any]:
        recipe, folder = self._recipe(request)
        names = ("frames", "chunk", "device", "memory", "program", "priority")
        options = {name: getattr(request, name) for name in names}
        bundle = self._fence.output(request.bundle, folder)
        return plain(farm(recipe, FarmArguments(bundle / "recipe.json", bundle, **options)))

    def _identity(self, request: Perform, tell: Tell) -> Mapping[str, Any]:
        folder = self._fence.folder(request.folder)
        output = self._fence.output(request.output, folder)
        arguments = ConvertArguments(
            plate=PlateArguments(
                str(folder / request.plate), request.frames, request.colorspace, request.ocio, request.layer
            ),
            folder=output.parent,
            sources=tuple(str(folder / source) for source in request.sources),
            source_colorspace=request.source_colorspace,
            source_start=request.source_start,
            likeness=request.likeness,
            release=request.release,
            release_until=request.release_until,
            tracking=TrackArguments(detector=request.detector, device=self._device),
            device=self._device,
        )
        if not request.sources:
            raise RequestError("identity: sources is empty. Name a photograph, or a take.")
        return {"written": [str(make_identity(arguments, output, tell))], **facts_of(output)}

    def _fit(self, request: Fit, tell: Tell) -> Mapping[str, Any]:
        folder = self._fence.folder(request.folder)
        output = self._fence.output(request.output, folder)
        plate = PlateArguments(str(folder / request.plate), request.frames, layer=request.layer)
        return plain(fit_plate(plate, output, tell))

    def _track(self, request: Track, tell: Tell) -> Mapping[str, Any]:
        folder = self._fence.folder(request.folder)
        output = self._fence.output(request.output, folder)
        exports = tuple(self._fence.output(path, folder) for path in request.exports)
        preview = None if request.preview is None else self._fence.output(request.preview, folder)
        arguments = TrackArguments(
            detector=request.detector,
            weights=None if request.weights is None else folder / request.weights,
            keys=request.keys,
            source=None if request.source is None else folder / request.source,
            settings=request.settings,
            names=tuple(request.names.items()),
            ignore=request.ignore,
            preview=preview,
            exports=exports,
            device=self._device,
        )
        plate = PlateArguments(
            str(folder / request.plate), request.frames, request.colorspace, request.ocio, request.layer
        )
        outcome = track_shot(plate, output, arguments, tell)
        faces = [
            {"name": face.name, "first": face.first, "last": face.last, "ignored": face.ignored, "lost": lost(face)}
            for face in read_tracks(output).tracks
        ]
        return {**plain(outcome), "faces": faces}

    def _export(self, request: Export) -> Mapping[str, Any]:
        folder = self._fence.folder(request.folder)
        outputs = tuple(self._fence.output(path, folder) for path in request.outputs)
        return plain(export_track(folder / request.track, outputs, request.face, request.settings))

    def _train(self, ticket: Ticket, request: Train, tell: Tell) -> Mapping[str, Any]:
        from mien.serve.training import run_training

        control = Control()
        ticket.on_cancel = control.stop
        self._controls[ticket.id] = control
        try:
            if ticket.cancelled.is_set():
                raise Cancelled
            outcome = run_training(request, self._fence, self._device, tell, control)
        finally:
            del self._controls[ticket.id]
        if ticket.cancelled.is_set():
            raise Cancelled
        return plain(outcome)

    def steer(self, ticket: Ticket, action: str) -> None:
        """Pause, resume or stop a training that runs.

        Raises:
            RequestError: It has not begun, or there is no such action.
        """
        from mien.serve.training import steer

        control = self._controls.get(ticket.id)
        if control is None:
            raise RequestError(f"The training {ticket.id!r} does not run yet.")
        steer(control, action)

    def _recipe(self, request: Job) -> tuple[Recipe, Path]:
        """The checked recipe with its changed settings, and the job's folder."""
        if isinstance(request.recipe, str):
            path = Path(request.recipe)
            if not path.is_absolute():
                raise RequestError(f"The recipe {request.recipe!r} is not absolute: write the whole path.")
            folder = path.parent if request.folder is None else self._fence.folder(request.folder)
            recipe = recipes.read(path)
        elif request.folder is None:
            raise RequestError("A recipe within a request needs 'folder', the job's folder.")
        else:
            folder = self._fence.folder(request.folder)
            recipe = recipes.parse(request.recipe, folder)
        if request.settings:
            steps = recipes.located(recipes.change_steps(recipe.steps, request.settings), folder)
            recipe = recipes.check(replace(recipe, steps=steps))
        return recipe, folder


def inspect(request: Inspect) -> Mapping[str, Any]:
    """What a file is; of pictures also in numbers: ``size``, ``data`` (x, y, width, height), ``range``, ``missing``."""
    path = Path(request.path)
    if not path.is_absolute():
        raise RequestError(f"The path {request.path!r} is not absolute: write the whole path.")
    if path.suffix.lower() not in STILLS | MOVIES:
        return facts_of(path)
    shot = open_shot(request.path)
    header = read_header(shot, shot.first)
    colors = load(request.ocio)
    return {
        **facts_of(shot.file(shot.first)),
        "size": list(header.size),
        "data": [header.data.x, header.data.y, header.data.width, header.data.height],
        "range": [shot.first, shot.last],
        "missing": list(shot.missing),
        "color": told_spaces(colors, plate_space(shot, colors, request.colorspace)),
    }


def told_spaces(colors: Colors, space: str) -> dict[str, str]:
    """Color interop IDs, or names of the config where it knows none: of a plate, of layers over it, of curves."""
    layer = space if colors.is_linear(space) else colors.working
    spaces = {"plate": space, "layer": layer, "working": colors.working}
    return {role: colors.interop_id(name) or name for role, name in spaces.items()}


def widths(job: jobs.Job) -> dict[int, float]:
    """Width of the face in plate pixels, in the frames where there is one."""
    faces = {frame: face_in(job.chain, frame) for frame in job.shot.frames}
    return {frame: face.width for frame, face in faces.items() if face is not None}


def plain(outcome: Outcome) -> dict[str, Any]:
    """An outcome as the facts of an answer."""
    facts = asdict(outcome)
    del facts["event"]
    facts["failed"] = [{"frame": frame, "message": message} for frame, message in outcome.failed.items()]
    return facts


def curve_files(recipe: Recipe) -> dict[str, str]:
    """Files of curves that a solve has written, by step."""
    series = [step.name for step in recipe.steps if declaration(step.node).output.startswith("Series[")]
    paths = {name: Path(recipe.output.folder) / f"{recipe.output.name}.{name}.json" for name in series}
    return {name: str(path) for name, path in paths.items() if path.is_file()}


def versions() -> dict[str, str]:
    """Versions of the libraries that pictures pass through."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def open_work(options: Any, tell: Tell) -> Work:
    """The warm engine as the options of ``mien serve`` ask for it.

    Raises:
        MienError: The device cannot be used.
    """
    fence = Fence(tuple(path.absolute() for path in options.allow_path))
    disk = None if options.no_disk_cache else open_cache()
    session = Session(options.device, int(options.memory * 2**30), disk, tell=tell)
    return Work(session, options.device, fence)
