"""The view of many cameras: a row for each."""

import time
from typing import TYPE_CHECKING

from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from co3d.cli.event_lines import describe
from co3d.cli.live_view import draw_bar
from co3d.console import Console
from co3d.engine import Engine, Prediction, SourceChanged
from co3d.engine.cameras import CameraWatch
from co3d.engine.followed_camera import CameraStatus
from co3d.report import label_colours

if TYPE_CHECKING:
    from co3d.engine.events import Record

REDRAWS_PER_SECOND = 4.0
BAR_CELLS = 16
WIDE_COLUMNS = 110
TITLES = ("camera", "label", "", "rate", "lag", "dropped", "state")


class FleetView:
    """Draws a table of all cameras, four times a second.

    Args:
        console: the terminal. engine: the one that labels. watch: its cameras.
    """

    def __init__(self, console: Console, engine: Engine, watch: CameraWatch) -> None:
        self._console, self._engine, self._watch = console, engine, watch
        self._colours = label_colours(engine.labels)
        self._latest: dict[str, Prediction] = {}
        self._live = Live(
            console=console,
            refresh_per_second=REDRAWS_PER_SECOND,
            get_renderable=self._draw,
            transient=False,
        )

    def add(self, prediction: Prediction) -> None:
        """Take in a prediction."""
        self._latest[prediction.track] = prediction

    def show_change(self, change: SourceChanged) -> None:
        """Clear a camera's label when its source is gone: it does not hold any more."""
        if change.state.phase != "live":
            self._latest.pop(change.track, None)

    def show_event(self, record: "Record") -> None:
        """Print the begin or end of an event above the table."""
        if record.kind in ("start", "end"):
            self._console.print(Text(describe(record)), soft_wrap=True)

    def _draw(self) -> Panel:
        bar_cells = BAR_CELLS if self._console.width >= WIDE_COLUMNS else BAR_CELLS // 4
        table = Table.grid(padding=(0, 2), expand=True)
        for ratio in (2, 2):
            table.add_column(ratio=ratio, no_wrap=True, overflow="ellipsis")
        table.add_column(width=bar_cells + 7, no_wrap=True)
        for width in (8, 8, 7):
            table.add_column(width=width, justify="right", no_wrap=True)
        table.add_column(ratio=3, no_wrap=True, overflow="ellipsis")
        table.add_row(*(Text(title, "dim") for title in TITLES))
        for name, status in self._watch.statuses().items():
            table.add_row(*self._draw_row(name, status, bar_cells))
        metrics = f"load {self._engine.load:.0%} · step {self._engine.step_cost_ms:.1f} CPU-ms"
        if self._watch.lost_predictions:
            metrics += f" · {self._watch.lost_predictions} predictions not shown"
        return Panel(
            table,
            title=Text(f"{self._engine.card.name} · {len(self._watch.statuses())} cameras", "bold"),
            title_align="left",
            subtitle=Text(f"{metrics} · {self._engine.compiled.backend}", "dim"),
            subtitle_align="right",
            border_style="dim",
            padding=(1, 2),
        )

    def _draw_row(self, name: str, status: CameraStatus, bar_cells: int) -> list[Text]:
        latest, metrics = self._latest.get(name), status.metrics
        label, bar = Text(), Text()
        if latest is not None and latest.label is not None:
            probability = latest.top[0][1]
            label = Text(latest.label, "bold")
            bar = draw_bar(probability, bar_cells, self._colours[latest.label])
            bar.append(f" {probability:6.1%}")
        elif latest is not None:
            label = Text(latest.why_unlabelled, "dim italic")
        rate = Text(f"{metrics.rate_hz:.1f}/s" if metrics else "")
        lag_ms = None if latest is None else latest.lag_ms
        lag = Text("" if lag_ms is None else f"{lag_ms:.0f} ms")
        dropped = Text(str(metrics.dropped_frames) if metrics else "")
        state = _describe_state(status)
        if latest is not None and latest.is_undersampled and not status.has_ended:
            state.append(", undersampled", "yellow")
        for count, what in (
            (status.irregularities.jumps_back, "jumps back"),
            (status.irregularities.size_changes, "size changes"),
        ):
            if count and not status.has_ended:
                state.append(f", {what}: {count}", "yellow")
        return [Text(name), label, bar, rate, lag, dropped, state]

    def __enter__(self) -> "FleetView":
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()


def _describe_state(status: CameraStatus) -> Text:
    state = status.state
    if status.has_ended:
        if status.error is not None:
            return Text(f"ended: {status.error}", "bold red")
        return Text("ended", "dim")
    if state is None or state.phase == "live":
        return Text("live" if state else "reading", "green")
    seconds = time.time() - state.since_seconds
    cause = f" ({state.cause})" if state.cause else ""
    return Text(f"{state.phase} for {seconds:.0f} s{cause}", "bold red")
