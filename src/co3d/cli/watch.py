"""`co3d watch`, and `co3d stream` with several sources: many sources in one terminal."""

import re
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from co3d import __version__
from co3d.cli.event_lines import EventLines, EventScreen
from co3d.cli.exit_codes import PIPE_CLOSED, STOPPED, SUCCESS
from co3d.cli.file_watcher import FileWatcher
from co3d.cli.fleet_check import check_fleet
from co3d.cli.fleet_view import FleetView
from co3d.cli.lines import JsonLines, PlainLines
from co3d.cli.networks import open_streamed
from co3d.cli.notices import FleetNotices
from co3d.cli.options import StreamOptions
from co3d.cli.quiet_terminal import quiet_terminal
from co3d.cli.stop_request import StopRequest, silence
from co3d.cli.waiting import waiting
from co3d.console import Console, warn
from co3d.engine import Engine, Prediction, SourceChanged, TrackEnded
from co3d.engine.admission import LOAD_LIMIT
from co3d.engine.camera import Camera
from co3d.engine.cameras import REFUSED_RETRY_SECONDS, CameraWatch
from co3d.engine.opening import open_engine
from co3d.engine.track_states import TrackStates
from co3d.errors import Co3dError, OptionError
from co3d.models.file_networks import redirect_prints
from co3d.packages import require_package
from co3d.video import hide_password

if TYPE_CHECKING:
    from co3d.engine.fleet_events import FleetEvents

ENDED_GRACE_SECONDS, STOPPED_GRACE_SECONDS = 60.0, 0.5
"""Seconds to finish pictures, clips and deliveries: after the last camera has ended, and after a
signal."""


class Screen(EventScreen, Protocol):
    """Shows predictions, states and events."""

    def add(self, prediction: Prediction) -> None:
        """Take in a prediction."""
        ...

    def show_change(self, change: SourceChanged) -> None:
        """Receive a source's new state."""
        ...


def watch_fleet(
    path: Path,
    *,
    is_check: bool,
    as_json: bool,
    state: Path | None = None,
    part: str | None = None,
) -> int:
    """Label the cameras of a fleet file until they end, or a signal stops it.

    The file is read again when it changes, and on SIGHUP where no terminal would send it.

    Args:
        path: of the file. is_check: only open each source once. as_json: print JSON lines.
        state: folder in which a signal saves the states of live cameras, to continue from.
        part: "2/4" labels the cameras of the second of four processes; None all.

    Returns:
        The exit code: that of the first camera's error if one ended with an error, 130 when a
        signal stopped it, 0 else.

    Raises:
        FleetError: the file cannot be used.
        OptionError: the part is not such a fraction.
        MissingPackageError: PyYAML or pydantic is not installed.
        Co3dError: the network cannot be opened.
    """
    for package in ("yaml", "pydantic"):
        require_package(package, extra="watch")
    from co3d.engine.fleet_events import FleetEvents, check_outputs
    from co3d.engine.fleet_file import FleetFile, read_fleet

    taken = None if part is None else _parse_part(part)

    def read() -> FleetFile:
        whole = read_fleet(path)
        return whole if taken is None else whole.take_part(*taken)

    fleet = read()
    cameras = fleet.list_cameras()
    engine = open_engine(
        **fleet.network.list_keywords(),
        meanwhile=not is_check,  # the check measures what fits
        load_limit=None if is_check else LOAD_LIMIT,
    )
    with engine:
        if is_check:
            fleet.check_labels(engine.labels)
            outputs = check_outputs(fleet, __version__)
            return check_fleet(engine, cameras, outputs, as_json=as_json)
        with ExitStack() as stack:
            events = FleetEvents(fleet, engine, __version__, warn)
            stack.callback(events.close)
            states = None if state is None else TrackStates(state, engine.card)
            watch = stack.enter_context(
                CameraWatch(
                    engine,
                    events.take,
                    ring_seconds=0.0,
                    states=states,
                    retry_seconds=REFUSED_RETRY_SECONDS,
                )
            )
            events.attach(watch)

            def read_again() -> None:
                try:
                    changed = read()
                    for key in ("network", "events"):
                        if getattr(changed, key) != getattr(fleet, key):
                            warn(f"{path}: changes in section {key} take effect after a restart")
                    cameras = changed.list_cameras()
                    events.reconfigure(changed)
                    watch.replace_all(cameras)
                    warn(f"{path} was reloaded: {len(cameras)} cameras")
                except Co3dError as error:
                    warn(f"{error}; nothing was changed")

            with FileWatcher(path, read_again) as watcher:
                return _run(engine, watch, cameras, watcher, events, as_json=as_json)


def _parse_part(text: str) -> tuple[int, int]:
    """The number and the count of "2/4"."""
    found = re.fullmatch(r"([1-9]\d*)/([1-9]\d*)", text)
    if found is None or int(found[1]) > int(found[2]):
        raise OptionError(f"cannot use --part {text}: expected such as 1/4, the first of four")
    return int(found[1]), int(found[2])


def stream_sources(sources: Sequence[str], options: StreamOptions) -> int:
    """Label several sources at once; returns as `watch_fleet` does.

    Raises:
        OptionError: an option is only for a single source, or a source is named twice.
        Co3dError: the network cannot be opened.
    """
    if any(path is not None for path in (options.output, options.timeline, options.record)):
        raise OptionError(
            "cannot write --output, --timeline or --record of several sources: name one source a "
            "command"
        )
    names = [hide_password(source) for source in sources]
    if len(set(names)) < len(names):
        raise OptionError("cannot label a source twice at once: name each once")
    cameras = [
        replace(options.camera, name=name, source=source)
        for name, source in zip(names, sources, strict=True)
    ]
    network = open_streamed(options)
    with redirect_prints(), waiting(f"opening {options.model}"):
        engine = open_engine(
            network.model,
            weights=network.weights,
            window=options.window,
            labels=network.labels,
            backend=options.backend,
            precision=options.precision,
            device=options.device,
            meanwhile=True,
            workers=options.threads,
            load_limit=None,
        )
    with engine, CameraWatch(engine) as watch:
        return _run(engine, watch, cameras, None, None, as_json=options.as_json)


def _run(
    engine: Engine,
    watch: CameraWatch,
    cameras: Sequence[Camera],
    watcher: FileWatcher | None,
    events: "FleetEvents | None",
    *,
    as_json: bool,
) -> int:
    """Show results until all cameras have ended."""
    code, pipe_closed, notices = SUCCESS, False, FleetNotices(watch)
    said: list[Exception] = []

    def request_stop() -> None:
        if events is not None:
            events.request_stop()
        watch.request_stop()

    with StopRequest(request_stop) as stop, ExitStack() as opened:
        if watcher is not None and not sys.stdout.isatty():
            signal.signal(signal.SIGHUP, lambda *_: watcher.notify())
        screen: Screen
        if as_json:
            screen = JsonLines()
        elif sys.stdout.isatty():
            opened.enter_context(quiet_terminal(sys.stdout))
            screen = opened.enter_context(FleetView(Console(), engine, watch))
        else:
            screen = PlainLines()
        if events is not None:
            opened.enter_context(EventLines(events, screen))
        for camera in cameras:
            watch.start(camera)
        try:
            for item in watch:
                if isinstance(item, Prediction):
                    screen.add(item)
                elif isinstance(item, SourceChanged):
                    screen.show_change(item)
                elif item.error is not None and item.error not in said:
                    said.append(item.error)  # the tracks of a camera all end with its error
                    code = code or _report(item)
                notices.print_new(item.track)
            if events is not None:
                events.finish(STOPPED_GRACE_SECONDS if stop.requested else ENDED_GRACE_SECONDS)
        except BrokenPipeError:
            pipe_closed = True
            stop.request()
    if pipe_closed:
        silence(sys.stdout.fileno())
        return PIPE_CLOSED
    return code or (STOPPED if stop.requested else SUCCESS)


def _report(ended: TrackEnded) -> int:
    """Print why a camera ended; returns its exit code."""
    warn(f"error: {ended.track}: {ended.error}")
    return ended.error.exit_code if isinstance(ended.error, Co3dError) else 1
