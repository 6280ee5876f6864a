"""The default precision does not change the labels of the bundled network.

The label-agreement limit: what `open_stream(backend="auto")` picks, float32, may give another
likeliest label than float32 in the reference backend on no more than 0.5 % of the frames of the
network's test streams (journeys of a virtual camera over pictures that it was not trained on, and
the bundled sample). Every other precision is measured as well; `docs/precision.md` has its figures.
"""

import pytest

from co3d.backends.table import BACKENDS
from co3d.compiler import convert
from co3d.models import create_model
from co3d.parity import streams
from co3d.parity.features import convert_with_features
from co3d.parity.precision import PrecisionComparison
from co3d.parity.precision_report import MOST_CHANGED_LABELS, PrecisionReport
from co3d.parity.streams import film_journeys, stream_sample
from co3d.runtime import open_stream
from co3d.runtime.choice import (
    PLAIN_PRECISIONS,
    list_quick_backends,
    select_engines,
)


def _compare(frames: int, journeys: int) -> PrecisionReport:
    model = create_model("camera_motion")
    program, has_features = convert_with_features(model, model.card.clip_shape)
    comparison = PrecisionComparison(
        program,
        has_features=has_features,
        engines=select_engines(list_quick_backends(), PLAIN_PRECISIONS),
        random_weights=False,
    )
    videos = [stream_sample(model.card, program.frame_shapes), *film_journeys(journeys)]
    comparison.run(videos, frames, lambda *_: None)
    return comparison.report()


@pytest.mark.parametrize(
    ("frames", "journeys"), [(100, 1), pytest.param(6000, 30, marks=pytest.mark.slow)]
)
def test_default_precision_keeps_the_labels(
    frames: int, journeys: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if journeys == 1:  # film no more than is shown
        monkeypatch.setattr(streams, "JOURNEYS_AT_ONCE", 1)
        monkeypatch.setattr(streams, "JOURNEY_SECONDS", 10)
    report = _compare(frames, journeys)
    report.require()
    rows = {(row.backend, row.precision): row for row in report.rows}
    here = {
        name for name, one in BACKENDS.items() if one.runs_on("cpu") and not one.is_slow_to_open
    }
    assert {backend for backend, _ in rows} == here - {
        name for name, one in BACKENDS.items() if one.is_slow_to_open
    }, "one is not installed"
    assert all(row.frames == frames for row in rows.values())
    default = rows[report.default[0], "float32"]
    assert default.changed_labels <= MOST_CHANGED_LABELS * frames
    for (backend, precision), row in rows.items():
        if precision in ("float32", "float64"):
            assert row.keeps_labels, f"{backend} in {precision}: {row}"
        print(f"{backend} {precision}: {row.changed_labels} of {row.frames} labels changed")


def test_the_sample_has_many_labels() -> None:
    """With constant labels the comparison would prove nothing."""
    model = create_model("camera_motion")
    stream = open_stream(convert(model, model.card.clip_shape))
    labels = set()
    for frame in stream_sample(model.card, stream.program.frame_shapes).open():
        labels.update(stream.step(frame).output.argmax(1).tolist())
    assert len(labels) >= 6
