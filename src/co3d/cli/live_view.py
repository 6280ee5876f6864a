"""The live view: bars of the likeliest labels, a rolling timeline and the figures of the stream."""

from collections import deque
from datetime import datetime
from time import monotonic, time
from types import TracebackType

from rich.console import Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from co3d.console import Console
from co3d.engine import Labeller, LabellingSummary, Prediction
from co3d.report import label_colours
from co3d.video import SourceState, VideoReader

REDRAWS_PER_SECOND = 12.0
TIMELINE_CELLS = 400  # more than any terminal is wide
EIGHTHS = " ▏▎▍▌▋▊▉█"


class LiveView:
    """Redraws one panel of the terminal as predictions arrive, at most 12 times a second.

    Args:
        console: the terminal.
        source: the source, as the user named it.
        labeller: the running network. reader: of the frames.
        summary: counts of the stream so far, updated by the caller before each `add`.
    """

    def __init__(
        self,
        console: Console,
        source: str,
        labeller: Labeller,
        reader: VideoReader,
        summary: LabellingSummary,
    ) -> None:
        self._console = console
        self._title = f"{labeller.card.name} · {source}"
        self._subtitle = labeller.compiled.backend
        self._rows = labeller.top_k
        self._summary = summary
        self._colours = label_colours(labeller.labels)
        self._delay = f"{labeller.program.delay / labeller.rate_hz:.2f} s"
        self._duration_seconds = None if reader.is_live else reader.duration_seconds
        self._recent_labels: deque[str | None] = deque(maxlen=TIMELINE_CELLS)
        self._first_pts_seconds: float | None = None
        self._latest: Prediction | None = None
        self._state: SourceState | None = None
        self._is_current = False
        self._drawn_at = 0.0
        self._live = Live(console=console, auto_refresh=False, transient=False)

    def add(self, prediction: Prediction) -> None:
        """Add a prediction, and redraw if it is time."""
        self._latest = prediction
        self._is_current = True
        if self._first_pts_seconds is None:
            self._first_pts_seconds = prediction.frame.pts_seconds
        if prediction.gap_seconds:
            self._recent_labels.append(None)
        if prediction.valid:
            self._recent_labels.append(prediction.label or "")
        self._redraw_in_time()

    def show(self, state: SourceState) -> None:
        """Set the state of a camera or network stream, and redraw if it is time."""
        self._state = state
        if self._is_away:
            self._is_current = False  # stays so after the source is back, until the next prediction
        self._redraw_in_time()

    def __rich__(self) -> Panel:
        """The panel for Rich to print."""
        return self._draw()

    def _redraw_in_time(self) -> None:
        now = monotonic()
        if now - self._drawn_at >= 1 / REDRAWS_PER_SECOND:
            self._drawn_at = now
            self._redraw()

    def _redraw(self) -> None:
        self._live.update(self._draw(), refresh=True)

    def _draw(self) -> Panel:
        latest = self._latest
        if latest is None:
            body: Group | Text = Text("waiting for the first frames …", style="dim")
        else:
            width = max(20, self._console.width - 6)
            body = Group(
                self._draw_bars(latest, width),
                Text(),
                self._draw_timeline(width),
                Text(),
                *self._draw_progress(latest),
                self._draw_figures(latest),
            )
        return Panel(
            body,
            title=Text(self._title, "bold"),
            title_align="left",
            subtitle=Text(self._subtitle, "dim"),
            subtitle_align="right",
            border_style="dim",
            padding=(1, 2),
        )

    def _draw_bars(self, latest: Prediction, width: int) -> Table:
        bars = Table.grid(padding=(0, 1), expand=True)
        bars.add_column(width=max(12, width // 4), no_wrap=True, overflow="ellipsis")
        bars.add_column(ratio=1, no_wrap=True)
        bars.add_column(width=7, justify="right")
        bar_width = width - max(12, width // 4) - 9
        if self._is_away:
            bars.add_row(Text(), Text(self._describe_absence(), "bold red"))
        elif not self._is_current:
            bars.add_row(Text(), Text("filling the window", "dim italic"))
        elif latest.why_unlabelled:
            bars.add_row(Text(), Text(latest.why_unlabelled, "dim italic"))
        else:
            for rank, (label, probability) in enumerate(latest.top):
                bar = draw_bar(probability, bar_width, self._colours[label])
                bars.add_row(Text(label, "bold" if rank == 0 else ""), bar, f"{probability:.1%}")
        while bars.row_count < self._rows:  # keeps the view's height constant
            bars.add_row(Text())
        return bars

    @property
    def _is_away(self) -> bool:
        """Whether no pictures arrive, so that the last label does not hold any more."""
        return self._state is not None and self._state.phase != "live"

    def _describe_absence(self) -> str:
        assert self._state is not None
        seconds = time() - self._state.since_seconds
        cause = f" ({self._state.cause})" if self._state.cause else ""
        return f"{self._state.phase} for {seconds:.0f} s{cause}"

    def _draw_timeline(self, width: int) -> Text:
        """One cell per prediction and gap, newest at the right; runs show their label if it fits.

        Cells of predictions without a label are empty.
        """
        cells = list(self._recent_labels)[-width:]
        strip = Text(" " * (width - len(cells)), no_wrap=True)
        start = 0
        while start < len(cells):
            label = cells[start]
            end = next((i for i in range(start, len(cells)) if cells[i] != label), len(cells))
            length = end - start
            if not label:
                strip.append(("┊" if label is None else " ") * length, "dim")
                start = end
                continue
            name = f" {label}" if len(label) + 2 <= length else ""
            strip.append(name.ljust(length), f"#101418 on {self._colours[label]}")
            start = end
        return strip

    def _draw_progress(self, latest: Prediction) -> list[Table]:
        if not self._duration_seconds or self._first_pts_seconds is None:
            return []
        seen_seconds = latest.seen_pts_seconds - self._first_pts_seconds
        done = min(1.0, seen_seconds / self._duration_seconds)
        elapsed_seconds = self._summary.elapsed_seconds
        left_seconds = elapsed_seconds * (1 - done) / done if done else 0.0
        row = Table.grid(padding=(0, 1), expand=True)
        row.add_column(no_wrap=True)
        row.add_column(ratio=1)
        row.add_column(no_wrap=True)
        row.add_row(
            f"{latest.frame.pts_seconds:7.2f} s",
            ProgressBar(total=1.0, completed=done, complete_style="cyan", finished_style="cyan"),
            f"of {self._duration_seconds:.1f} s, {left_seconds:.0f} s to go",
        )
        return [row]

    def _draw_figures(self, latest: Prediction) -> Text:
        figures = {
            "": f"{self._summary.frames_per_second:.1f} frames/s",
            "step": f"{latest.step_ms:.1f} ms, median {self._summary.step_ms_median:.1f} ms",
            "delay": self._delay,
            "dropped": str(latest.dropped_frames),
        }
        if latest.is_undersampled:
            figures["undersampled"] = ""
        if latest.lag_ms is not None and not self._is_away:
            figures["lag"] = f"{latest.lag_ms:.0f} ms"
        if latest.frame.received_seconds is not None:
            received = datetime.fromtimestamp(latest.frame.received_seconds).astimezone()
            figures = {"at": f"{received:%H:%M:%S}", **figures}
        if not self._duration_seconds:
            figures = {"time": f"{latest.frame.pts_seconds:.2f} s", **figures}
        text = Text(no_wrap=True, overflow="ellipsis")
        for name, value in figures.items():
            text.append(" · " if text else "", "dim")
            text.append(f"{name} " if name else "", "dim")
            text.append(value)
        return text

    def __enter__(self) -> "LiveView":
        self._live.start()
        self._redraw()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._redraw()
        self._live.stop()


def draw_bar(share: float, width: int, colour: str) -> Text:
    """A bar of `width` cells filled by `share` (0 to 1), to an eighth of a cell."""
    eighths = round(share * width * 8)
    full, rest = divmod(eighths, 8)
    bar = EIGHTHS[8] * full + (EIGHTHS[rest] if rest else "")
    return Text(bar, style=colour) + Text("·" * (width - len(bar)), style="dim")
