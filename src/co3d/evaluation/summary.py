"""The summary of a run: its measures, the excluded videos, and its speed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from co3d.evaluation.detection import DetectionMeasures
from co3d.evaluation.metrics import (
    MultiLabelMeasures,
    SingleLabelMeasures,
    as_targets,
    measure_multi_label,
    measure_single_label,
)
from co3d.evaluation.published import PublishedFigure
from co3d.evaluation.records import VideoRecord, stack_scores
from co3d.evaluation.run import RunResult
from co3d.evaluation.transient import (
    TransientResponse,
    measure_transient,
    measure_transient_precision,
)


@dataclass(frozen=True)
class Summary:
    """Everything that is reported of a run.

    Attributes:
        settings: all that determined the predictions.
        class_names: of the model, index 0 first.
        multi_label: whether videos may show several classes.
        evaluated: records that count. excluded: those of bad videos.
        short: number of counted videos that ended before the network was full.
        measures: name of a prediction -> its measures.
        transient: of a stream.
        localisation: at 25 moments of each video that has segments.
        detection: at every frame of videos that have segments, if their scores are kept.
        resumed: number of videos from an earlier run.
        frames_per_second: of one process, including reading; None if nothing was left to do.
        processes: number of processes.
        published: figures that others measured with these weights.
    """

    settings: Mapping[str, Any]
    class_names: tuple[str, ...]
    multi_label: bool
    evaluated: tuple[VideoRecord, ...]
    excluded: tuple[VideoRecord, ...]
    short: int
    measures: Mapping[str, SingleLabelMeasures | MultiLabelMeasures]
    transient: TransientResponse | None
    localisation: MultiLabelMeasures | None
    detection: DetectionMeasures | None
    resumed: int
    frames_per_second: float | None
    processes: int
    published: Sequence[PublishedFigure]

    @property
    def main_prediction(self) -> str:
        """The prediction that pictures show: the last one of a stream, or that of the clips."""
        return list(self.measures)[-1]

    def scores(self, name: str) -> Tensor:
        """Probabilities (N, K) of a prediction, in the order of `evaluated`."""
        return stack_scores([record.scores[name] for record in self.evaluated])

    @property
    def videos_per_class(self) -> tuple[int, ...]:
        """Number of counted videos that show each class."""
        shown = as_targets([record.labels for record in self.evaluated], len(self.class_names))
        return tuple(shown.sum(0).tolist())

    def to_json(self) -> dict[str, Any]:
        """Values for `json.dumps`; shares, not percent."""
        return {
            "settings": dict(self.settings),
            "videos": {
                "judged": len(self.evaluated),
                "excluded": {record.video_id: record.error for record in self.excluded},
                "ended_before_network_was_full": self.short,
                "per_class": list(self.videos_per_class),
            },
            "measures": {name: _measures_json(m) for name, m in self.measures.items()},
            "localisation": self.localisation and _measures_json(self.localisation),
            "detection": self.detection and _detection_json(self.detection),
            "transient": self.transient and vars(self.transient),
            "published": [asdict(figure) for figure in self.published],
            "run": {
                "resumed": self.resumed,
                "processes": self.processes,
            },
        }


def summarise(
    result: RunResult,
    *,
    settings: Mapping[str, Any],
    class_names: Sequence[str],
    multi_label: bool,
    processes: int,
    published: Sequence[PublishedFigure],
    detection: DetectionMeasures | None = None,
) -> Summary:
    """Measure the records of a run; without any that count, measures are empty."""
    evaluated = tuple(record for record in result.records if record.error is None)
    classes = len(class_names)
    labels = [record.labels for record in evaluated]
    measures: dict[str, SingleLabelMeasures | MultiLabelMeasures] = {}
    for name in evaluated[0].scores if evaluated else ():
        scores = stack_scores([record.scores[name] for record in evaluated])
        if multi_label:
            measures[name] = measure_multi_label(scores, as_targets(labels, classes))
        else:
            measures[name] = measure_single_label(scores, torch.tensor(labels).flatten())
    traced = [record for record in evaluated if record.trace is not None]
    return Summary(
        settings=settings,
        class_names=tuple(class_names),
        multi_label=multi_label,
        evaluated=evaluated,
        excluded=tuple(record for record in result.records if record.error is not None),
        short=sum(r.trace is not None and r.trace.first_valid >= r.frames for r in traced),
        measures=measures,
        transient=_measure_transient(traced, classes, multi_label=multi_label),
        localisation=_measure_localisation(evaluated, classes),
        detection=detection,
        resumed=result.resumed,
        frames_per_second=result.frames / result.seconds if result.frames else None,
        processes=processes,
        published=published,
    )


def _measure_transient(
    traced: Sequence[VideoRecord], classes: int, *, multi_label: bool
) -> TransientResponse | None:
    if not traced:
        return None
    if multi_label:
        return measure_transient_precision(traced, classes)
    return measure_transient(traced)


def _measure_localisation(
    evaluated: Sequence[VideoRecord], classes: int
) -> MultiLabelMeasures | None:
    rows = [row for record in evaluated for row in record.moments]
    labels = [row for record in evaluated for row in record.moment_labels]
    if not rows:
        return None
    return measure_multi_label(
        stack_scores(rows), as_targets(labels, classes), unlabelled_last=False
    )


def _detection_json(measures: DetectionMeasures) -> dict[str, Any]:
    """Measures with null for NaN, which JSON lacks."""
    return {
        name: None if isinstance(value, float) and math.isnan(value) else value
        for name, value in vars(measures).items()
    }


def _measures_json(measures: SingleLabelMeasures | MultiLabelMeasures) -> dict[str, Any]:
    if isinstance(measures, MultiLabelMeasures):
        mean = measures.mean_average_precision
        return {
            "mean_average_precision": None if math.isnan(mean) else mean,
            "per_class": list(measures.per_class),
            "calibration_error": measures.calibration_error,
        }
    return {
        **{f"top{k}": share for k, share in measures.top.items()},
        "mean_class_accuracy": measures.mean_class_accuracy,
        "per_class": list(measures.per_class),
        "calibration_error": measures.calibration_error,
        "confusion": measures.confusion.tolist(),
    }
