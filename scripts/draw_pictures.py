"""Draw the pictures at the top of README into docs/pictures/: the live view and the timeline."""

import io
from contextlib import ExitStack
from pathlib import Path

from co3d.cli.live_view import LiveView
from co3d.console import Console
from co3d.engine import LabellingSummary, open_labeller
from co3d.report import timeline_picture
from co3d.video import read_video, sample_video

FOLDER = Path(__file__).parents[1] / "docs" / "pictures"
COLUMNS = 90


def draw_pictures(folder: Path) -> None:
    """Label the bundled sample, and keep what the terminal shows at its end."""
    folder.mkdir(exist_ok=True)
    labeller = open_labeller()
    summary = LabellingSummary(labeller.rate_hz)
    screen = Console(force_terminal=True, width=COLUMNS, file=io.StringIO())
    with ExitStack() as opened:
        reader = opened.enter_context(read_video(sample_video(), rate_hz=labeller.rate_hz))
        timeline = opened.enter_context(
            timeline_picture(folder / "timeline.svg", labeller, title="sample.mp4 · camera_motion")
        )
        view = LiveView(screen, "sample.mp4", labeller, reader, summary)
        for prediction in labeller.label(reader):
            for sink in (summary, timeline, view):
                sink.add(prediction)
    paper = Console(record=True, force_terminal=True, width=COLUMNS, file=io.StringIO())
    paper.print(view)
    paper.save_svg(str(folder / "live_view.svg"), title="co3d stream sample.mp4")


if __name__ == "__main__":
    draw_pictures(FOLDER)
