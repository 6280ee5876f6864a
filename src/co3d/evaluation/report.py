"""The report of a run: report.md with its pictures, and summary.json."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path

from co3d.evaluation.detection import DETECTED, DetectionMeasures
from co3d.evaluation.frame_scores import FrameScores
from co3d.evaluation.metrics import MultiLabelMeasures, SingleLabelMeasures
from co3d.evaluation.pictures import draw_pictures
from co3d.evaluation.summary import Summary
from co3d.evaluation.tables import write_predictions
from co3d.files import output_file

LISTED = 20
MEANINGS = {
    "clip": "all views together",
    "warm": "one prediction, after the first {init} frames",
    "last": "after the last frame",
}


def write_report(
    summary: Summary, folder: Path, *, command: str, frame_scores: FrameScores | None = None
) -> list[Path]:
    """Write report.md, its pictures, summary.json and the tables of predictions.

    Raises:
        OutputError: a file cannot be written. DataError: kept scores cannot be read.
    """
    pictures = draw_pictures(summary, folder)
    written = write_predictions([*summary.evaluated, *summary.excluded], folder, frame_scores)
    if summary.measures:
        written.append(_write_classes(summary, folder / "classes.csv"))
    for name, text in (
        ("report.md", format_report(summary, pictures, command=command)),
        ("summary.json", json.dumps(summary.to_json(), indent=2, ensure_ascii=False) + "\n"),
    ):
        with output_file(folder / name) as temporary:
            temporary.write_text(text, "utf-8", errors="backslashreplace")
        written.append(folder / name)
    return [*written, *pictures.values()]


def format_run(summary: Summary) -> Iterator[str]:
    """Lines that are printed but not written to files, so that equal runs write equal files."""
    if summary.resumed:
        yield f"{summary.resumed} videos were evaluated by an earlier run"
    if summary.frames_per_second is not None:
        yield (
            f"{summary.frames_per_second:.1f} frames/s in each of {summary.processes} "
            "process(es), reading included"
        )


def _write_classes(summary: Summary, path: Path) -> Path:
    """Write a row per class: its index, name, number of videos, and its share per prediction."""
    kind = "average precision" if summary.multi_label else "accuracy"
    columns = {f"{kind}, {name}": one.per_class for name, one in summary.measures.items()}
    if summary.detection is not None:
        columns["average precision, frames"] = summary.detection.per_class
        columns["calibrated precision, frames"] = summary.detection.calibrated_per_class
    with output_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["index", "class", "videos", *columns])
        counts = zip(summary.class_names, summary.videos_per_class, *columns.values(), strict=True)
        for index, (name, videos, *shares) in enumerate(counts):
            values = ["" if share is None else f"{share:.6f}" for share in shares]
            table.writerow([index, name, videos, *values])
    return path


def format_report(summary: Summary, pictures: dict[str, Path], *, command: str) -> str:
    """The report as Markdown."""
    settings = summary.settings
    lines = [
        f"# {settings['model']} on {settings['data']}, {settings['mode']} mode",
        "",
        f"    {command}",
        "",
        *format_measures(summary),
        "",
        *_format_published(summary),
        *_format_videos(summary),
        "## Settings",
        "",
        "| setting | value |",
        "|---|---|",
        *(
            f"| {name} | {_cell(str(value))} |"
            for name, value in settings.items()
            if value is not None
        ),
        "",
    ]
    if len(summary.measures) > 1:
        lines += [f"The pictures show the prediction *{summary.main_prediction}*.", ""]
    for title, path in pictures.items():
        lines += [f"## {title}", "", f"![{title}]({path.name})", ""]
        if title == "Confusion":
            lines += _format_confusions(summary)
    return "\n".join(lines)


def format_measures(summary: Summary) -> Iterator[str]:
    """Lines of a Markdown table with the measures in percent."""
    if not summary.measures:
        yield "No video could be evaluated."
        return
    if summary.multi_label:
        yield "| prediction | mAP % | calibration error % |"
        yield "|---|---:|---:|"
        for name, measures in summary.measures.items():
            assert isinstance(measures, MultiLabelMeasures)
            yield _row(
                _describe(name, summary),
                measures.mean_average_precision,
                measures.calibration_error,
            )
    else:
        ks = next(
            list(m.top) for m in summary.measures.values() if isinstance(m, SingleLabelMeasures)
        )
        head = [*(f"top-{k} %" for k in ks), "mean class accuracy %", "calibration error %"]
        yield f"| prediction | {' | '.join(head)} |"
        yield f"|---|{'---:|' * len(head)}"
        for name, measures in summary.measures.items():
            assert isinstance(measures, SingleLabelMeasures)
            shares = (*measures.top.values(), measures.mean_class_accuracy)
            yield _row(_describe(name, summary), *shares, measures.calibration_error)
        if summary.transient is not None and summary.transient.every_frame is not None:
            empty = [None] * (len(ks) + 1)
            yield _row("every frame while full", summary.transient.every_frame, *empty)
    if summary.localisation is not None:
        yield ""
        yield (
            "Localisation (25 moments of each video): mAP "
            f"{100 * summary.localisation.mean_average_precision:.2f} %."
        )
    if summary.detection is not None:
        yield ""
        yield _format_detection(summary.detection)


def _format_detection(found: DetectionMeasures) -> str:
    delay = found.median_delay_seconds
    return (
        f"Online detection ({found.frames} frames): mAP {100 * found.mean_average_precision:.2f} "
        f"%, calibrated mAP {100 * found.mean_calibrated_precision:.2f} %. {found.detected} of "
        f"{found.intervals} intervals are detected (probability of {DETECTED} or more)"
        + ("." if delay is None else f", after {delay:.2f} s in the median.")
    )


def _describe(name: str, summary: Summary) -> str:
    return f"{name}: {MEANINGS[name].format_map(summary.settings)}"


def _row(name: str, *shares: float | None) -> str:
    cells = ["" if share is None else f"{100 * share:.2f}" for share in shares]
    return f"| {name} | {' | '.join(cells)} |"


def _format_published(summary: Summary) -> Iterator[str]:
    """Published figures that this run repeats, then others with their differences."""
    if not summary.published:
        yield "No figure is published of these weights, as far as their origin is known."
        yield ""
    repeated = [figure for figure in summary.published if not figure.differences]
    others = [figure for figure in summary.published if figure.differences]
    if repeated:
        yield "Published of these weights, measured as in this run:"
        yield ""
        yield "| measure | % |"
        yield "|---|---:|"
        yield from (f"| {figure.measure} | {figure.percent:g} |" for figure in repeated)
        yield ""
    if others:
        yield "Published of these weights, and not to be compared with this run:"
        yield ""
        yield "| measure | % | this run has |"
        yield "|---|---:|---|"
        for figure in others:
            differences = _cell("; ".join(figure.differences))
            yield f"| {figure.measure} | {figure.percent:g} | {differences} |"
        yield ""


def _format_videos(summary: Summary) -> Iterator[str]:
    yield f"{len(summary.evaluated)} videos were evaluated, {len(summary.excluded)} were left out."
    if summary.short:
        yield (
            f"{summary.short} of them ended before the network was full; their last prediction "
            "counts."
        )
    yield ""
    if summary.excluded:
        yield "| left out | because |"
        yield "|---|---|"
        for record in summary.excluded[:LISTED]:
            yield f"| {_cell(record.video_id)} | {_cell(record.error or '')} |"
        if len(summary.excluded) > LISTED:
            yield f"| {len(summary.excluded) - LISTED} more | see summary.json |"
        yield ""


def _format_confusions(summary: Summary) -> Iterator[str]:
    """The pairs of classes that are confused most."""
    measures = summary.measures[summary.main_prediction]
    assert isinstance(measures, SingleLabelMeasures)
    confusion = measures.confusion.clone()
    confusion.fill_diagonal_(0)
    order = confusion.flatten().argsort(descending=True, stable=True)[:LISTED].tolist()
    pairs = [divmod(index, len(confusion)) for index in order]
    wrong = [(int(confusion[truth, said]), truth, said) for truth, said in pairs]
    if not wrong[0][0]:
        return
    yield "| truth | prediction | videos |"
    yield "|---|---|---:|"
    names = summary.class_names
    for count, truth, said in wrong:
        if count:
            yield f"| {_cell(names[truth])} | {_cell(names[said])} | {count} |"
    yield ""


def _cell(text: str) -> str:
    """Text that cannot break out of a table's cell, nor begin a tag."""
    plain = " ".join(text.split()).replace("\\", "\\\\")
    return plain.replace("|", "\\|").replace("<", "&lt;")
