"""Predictions as lines of text on standard output."""

from typing import TYPE_CHECKING, Any

from co3d.cli.event_lines import describe
from co3d.console import say
from co3d.engine import Prediction, SourceChanged
from co3d.engine.messages import describe_prediction, describe_state
from co3d.printable import dump_json
from co3d.video import SourceState

if TYPE_CHECKING:
    from co3d.engine.events import Record


class JsonLines:
    """Prints one JSON object a line: predictions, and the source's states between them."""

    def __init__(self) -> None:
        self._shown: SourceState | None = None

    def show(self, state: SourceState) -> None:
        """Print a camera's or network stream's state, if it has changed."""
        if state == self._shown:
            return
        self._shown = state
        self._print_state(state, {})

    def show_change(self, change: SourceChanged) -> None:
        """Print the new state of one of several sources."""
        self._print_state(change.state, {"camera": change.track})

    def _print_state(self, state: SourceState, camera: dict[str, str]) -> None:
        _print_object({"type": "state", **camera, **describe_state(state)})

    def add(self, prediction: Prediction) -> None:
        """Print a prediction."""
        camera = {"camera": prediction.track} if prediction.track else {}
        _print_object({"type": "prediction", **camera, **describe_prediction(prediction)})

    def show_event(self, record: "Record") -> None:
        """Print a change of an event."""
        _print_object(record.as_dict())


class PlainLines:
    """Prints one readable line a prediction."""

    def add(self, prediction: Prediction) -> None:
        """Print a prediction."""
        said = ", ".join(f"{label} {probability:.1%}" for label, probability in prediction.top)
        text = prediction.why_unlabelled or said
        seconds = prediction.frame.pts_seconds
        camera = f"{prediction.track}  " if prediction.track else ""
        if prediction.gap_seconds:
            say(f"{camera}{seconds:9.3f} s  after a gap of {prediction.gap_seconds:.3f} s")
        mark = "  undersampled" if prediction.is_undersampled else ""
        say(f"{camera}{seconds:9.3f} s  {text}{mark}  [{prediction.latency_ms:.1f} ms]")

    def show_change(self, change: SourceChanged) -> None:
        """Print the new state of one of several sources."""
        cause = f" ({change.state.cause})" if change.state.cause else ""
        say(f"{change.track}  {change.state.phase}{cause}")

    def show_event(self, record: "Record") -> None:
        """Print a change of an event."""
        say(describe(record))


def _print_object(fields: dict[str, Any]) -> None:
    line = dump_json(fields) + "\n"  # one write, because events are printed by another thread
    print(line, end="", flush=True)
