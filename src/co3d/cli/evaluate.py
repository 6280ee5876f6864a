"""`co3d eval`: accuracy of a network on a data set, as clips or as streams."""

import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from co3d.cli.data_choice import DataChoice, Head, name_subject, restrict_to_classes, warn_of_order
from co3d.cli.exit_codes import STOPPED, SUCCESS
from co3d.cli.interrupts import interrupt_on_signals
from co3d.cli.mode_options import (
    Mode,
    Protocol,
    check_minimums,
    choose_mode,
    refuse_other_mode,
    refuse_rate,
)
from co3d.cli.subjects import open_subject
from co3d.compiler.options import ConvertOptions
from co3d.compiler.program import Program
from co3d.console import Console, say
from co3d.datasets.layouts import ALL, describe_splits, open_dataset, open_evaluation_split
from co3d.datasets.manifest import Manifest
from co3d.datasets.sampling import Rule, Sampling
from co3d.errors import DataError, OptionError
from co3d.evaluation.clip_mode import ClipEvaluator, parse_views
from co3d.evaluation.detection import DetectionMeasures, measure_detection
from co3d.evaluation.frame_scores import FOLDER, FrameScores
from co3d.evaluation.jobs import make_jobs
from co3d.evaluation.localisation import score_frames
from co3d.evaluation.metrics import require_metrics
from co3d.evaluation.paper_protocol import count_init_frames, make_paper_card, read_paper_frames
from co3d.evaluation.published import list_published
from co3d.evaluation.ranks import Rank, open_rank
from co3d.evaluation.report import format_measures, format_run, write_report
from co3d.evaluation.run import Evaluator, RunResult, run_jobs
from co3d.evaluation.stream_mode import Fill, StreamEvaluator
from co3d.evaluation.subject import Subject, describe_backend, describe_subject
from co3d.evaluation.summary import Summary, summarise
from co3d.export.program_cache import convert_or_read
from co3d.files import own_folder
from co3d.printable import dump_json
from co3d.runtime import compile as compile_program
from co3d.weights import identify_weights

STOPPED_NOTE = "stopped; run the same command to continue with the remaining videos"


@dataclass(frozen=True)
class EvalOptions:
    """The options of `co3d eval`, as the command line gives them; None if left out.

    Attributes:
        data: data set or manifest. split: of the data set. choice: classes and their names.
        head: whether all outputs of the network compete, or only those with classes in the data.
        model: registry name, folder of a run, exported file or FILE.py:FACTORY.
        weights: tag or path.
        mode: whole clips, or frame by frame; a protocol implies it.
        protocol: of a publication, which fixes fill, init_frames and rate_hz.
        views: "KxM"; rule: which frames make a clip; clips only.
        window, fill, init_frames, backend, slots: streams only.
        frame_scores: whether streams keep the scores of every frame.
        rate_hz: overrides the model's. precision, device: of the computation.
        limit: the most videos. output: folder of the report. strict: stop at a bad video.
        as_json: print the summary as JSON.
    """

    data: Path
    split: str | None
    choice: DataChoice
    head: Head
    model: str
    weights: str | None
    mode: Mode | None
    protocol: Protocol | None
    views: str | None
    rule: Rule | None
    window: int | None
    fill: Fill | None
    init_frames: int | None
    backend: str | None
    slots: int | None
    frame_scores: bool
    rate_hz: float | None
    precision: str | None
    device: str
    limit: int | None
    output: Path
    strict: bool
    as_json: bool


def evaluate_data(options: EvalOptions) -> int:
    """Evaluate, and write the report; continues where an earlier run in the same folder stopped.

    Returns:
        The exit code: 130 when a signal stopped it; then there is no report, and the same command
        continues with the remaining videos.

    Raises:
        OptionError, DataError, OutputError, MissingPackageError, UnknownModelError, WeightError,
            ConversionError: see `co3d help exit-codes`.
    """
    options = _check_options(options)
    require_metrics()
    subject = open_subject(options.model, options.weights, purpose="evaluate")
    _check_program(options, subject)
    if options.protocol == "paper":
        subject = replace(subject, card=make_paper_card(subject.card))
    console = Console(stderr=True)
    subject, manifest, split = _open_data(options, subject, console)
    jobs = make_jobs(manifest, subject.classes, options.limit)
    try:
        with interrupt_on_signals(), open_rank() as rank:
            scores = None
            if options.frame_scores:
                scores = FrameScores(options.output / FOLDER, len(manifest.class_names))
            evaluator, chosen = _open_evaluator(options, manifest, subject, rank, scores)
            settings = {
                "model": options.model,
                "weights": options.weights or "its own",
                "data": options.data.resolve().name,
                "split": split,
                **describe_subject(subject, manifest),
                **({"head": options.head} if options.head == "part" else {}),
                "mode": options.mode,
                "protocol": options.protocol,
                "precision": _choose_precision(options, subject),
                "device": options.device,
                **chosen,
            }
            with _lock_folder(options.output, rank), show_progress(console, rank) as report:
                result = run_jobs(
                    jobs, evaluator, options.output, settings, rank=rank, report=report
                )
            if not rank.reports:
                return SUCCESS
            summary = summarise(
                result,
                settings=settings,
                class_names=manifest.class_names,
                multi_label=manifest.multi_label,
                processes=rank.count,
                published=list_published(
                    identify_weights(options.model, options.weights),
                    subject.card,
                    settings,
                    manifest,
                    evaluated=sum(record.error is None for record in result.records),
                ),
                detection=_measure_detection(result, manifest, scores),
            )
    except KeyboardInterrupt:
        console.print(STOPPED_NOTE, soft_wrap=True)
        return STOPPED
    written = write_report(summary, options.output, command=_format_command(), frame_scores=scores)
    _print_summary(summary, console, written, as_json=options.as_json)
    if not summary.evaluated:
        raise DataError(
            f"cannot measure anything: got no video of {len(jobs)} that can be read; run "
            "`co3d data doctor`, or check where the data set lies"
        )
    return SUCCESS


def _lock_folder(folder: Path, rank: Rank) -> AbstractContextManager[None]:
    """Lock the folder in the reporting process of a distributed run; do nothing in the others."""
    return own_folder(folder) if rank.reports else nullcontext()


def _open_data(
    options: EvalOptions, subject: Subject, console: Console
) -> tuple[Subject, Manifest, str | None]:
    """The network, the videos to evaluate, and their split: the given one, else the default."""
    subject, labels = name_subject(subject, options.choice)
    # If the model has class names, classes are matched by name, so their order may differ.
    classes = subject.card.labels if options.head == "whole" else ()
    opening = {"classes": classes or None, **options.choice.list_keywords(labels)}
    if options.split is not None:
        manifest = whole = open_dataset(options.data, split=options.split, **opening)
        split: str | None = options.split
    else:
        manifest, whole = open_evaluation_split(options.data, **opening)
        (split,) = manifest.splits or (None,)
    if options.split is None and len(whole.splits) > 1:
        console.print(
            f"Evaluating the split {split}. {options.data} has {describe_splits(whole)}; --split "
            f"NAME evaluates another, --split {ALL} all of them",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    if options.head == "part":
        subject = restrict_to_classes(subject, manifest)
    warn_of_order(subject, manifest)
    return subject, manifest, split


def _check_options(options: EvalOptions) -> EvalOptions:
    """Check the options before anything is opened; returns them with their mode set."""
    settled = {
        "--fill": options.fill,
        "--init": options.init_frames,
        "--rate-hz": options.rate_hz,
    }
    mode = choose_mode("evaluate", options.mode, options.protocol, settled)
    refuse_other_mode(
        "evaluate",
        mode,
        {"--views": options.views, "--rule": options.rule},
        {
            "--window": options.window,
            "--fill": options.fill,
            "--init": options.init_frames,
            "--backend": options.backend,
            "--slots": options.slots,
            "--frame-scores": options.frame_scores or None,
        },
    )
    check_minimums("evaluate", {"--limit": options.limit, "--slots": options.slots})
    check_minimums("evaluate", {"--init": options.init_frames}, least=0)
    refuse_rate("evaluate", options.rate_hz)
    return replace(options, mode=mode)


def _check_program(options: EvalOptions, subject: Subject) -> None:
    """Raise OptionError for options that an exported file does not support."""
    if subject.program is not None and (options.mode == "clip" or options.window is not None):
        raise OptionError(
            f"cannot evaluate {options.model}: an exported stream has a fixed window; use --mode "
            "stream, and leave --window out"
        )
    if subject.program is not None and subject.program.edges == "none":
        raise OptionError(
            f"cannot evaluate {options.model}: it was exported with --edges none, for which the "
            "first frames of a video have no results; export it with --edges start"
        )


def _check_labels(manifest: Manifest) -> None:
    if manifest.multi_label:
        raise OptionError(
            "cannot evaluate by --protocol paper: got a data set with several classes a video, "
            "expected one, as Kinetics has; use --mode stream"
        )


def _choose_precision(options: EvalOptions, subject: Subject) -> str:
    own = None if subject.program is None else subject.program.precision
    return options.precision or own or "float32"


def _open_evaluator(
    options: EvalOptions,
    manifest: Manifest,
    subject: Subject,
    rank: Rank,
    frame_scores: FrameScores | None,
) -> tuple[Evaluator, dict[str, Any]]:
    """The evaluator that makes predictions, and its settings."""
    card = subject.card
    rate_hz = options.rate_hz or card.rate_hz
    device = f"cuda:{rank.local}" if options.device == "cuda" else options.device
    settings: dict[str, Any] = {"rate_hz": rate_hz}
    if options.mode == "clip":
        assert subject.model is not None  # `_check_program` refuses files
        temporal, spatial = parse_views(options.views or "1x1")
        rule: Rule = options.rule or "time"
        evaluator = ClipEvaluator(
            manifest,
            subject.model,
            Sampling(views=temporal, crops=spatial, rule=rule, rate_hz=rate_hz),
            precision=_choose_precision(options, subject),
            device=device,
            strict=options.strict,
        )
        return evaluator, settings | {
            "views": f"{temporal}x{spatial}",
            "rule": rule,
            "window": None,
            "fill": None,
            "init": None,
            "full_frames": None,
            "backend": None,
        }
    program: Program[Any]
    if subject.program is not None:
        program = subject.program
    else:
        assert subject.model is not None
        convert = ConvertOptions(window=options.window)
        program = convert_or_read(subject.model, card.clip_shape, convert)
    compiled = compile_program(
        program, backend=options.backend or "auto", precision=options.precision, device=device
    )
    fill: Fill = options.fill or "zeros"
    init_frames, read = options.init_frames, None
    if options.protocol == "paper":
        _check_labels(manifest)
        fill = "replicate"
        init_frames = count_init_frames(card.name, program.window, program.first_valid_step)
        read = partial(read_paper_frames, frames=init_frames + 1)
    evaluator = StreamEvaluator(
        manifest,
        card,
        compiled,
        fill=fill,
        rate_hz=rate_hz,
        init_frames=init_frames,
        read=read,
        frame_scores=frame_scores,
        strict=options.strict,
        at_once=options.slots,
    )
    return evaluator, settings | {
        "views": None,
        "rule": None,
        "window": program.window,
        "fill": fill,
        "init": evaluator.init_frames,
        "full_frames": program.first_valid_step,
        "backend": describe_backend(compiled),
        "slots": evaluator.together,
        **({"frame_scores": True} if options.frame_scores else {}),
    }


def _measure_detection(
    result: RunResult, manifest: Manifest, scores: FrameScores | None
) -> DetectionMeasures | None:
    """Detection measures, if the data have intervals and the run keeps every frame's scores."""
    if scores is None or not any(entry.segments for entry in manifest.entries):
        return None
    evaluated = (
        score_frames(manifest.entries[r.index], r.trace.pts_seconds, scores.read(r.index, r.frames))
        for r in result.records
        if r.trace is not None
    )
    return measure_detection(evaluated, len(manifest.class_names))


@contextmanager
def show_progress(console: Console, rank: Rank) -> Iterator[Callable[[int, int], None]]:
    """On a terminal, a progress bar in the reporting process."""
    progress = Progress(
        SpinnerColumn(),
        TextColumn("videos"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not (console.is_terminal and rank.reports),
    )
    with progress:
        task = progress.add_task("videos", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _print_summary(
    summary: Summary, console: Console, written: list[Path], *, as_json: bool
) -> None:
    if as_json:
        print(dump_json(summary.to_json()))
    else:
        say("\n".join(format_measures(summary)))
    for line in format_run(summary):
        console.print(line, highlight=False, soft_wrap=True)
    if summary.excluded:
        console.print(
            f"{len(summary.excluded)} videos are left out of the measures, the first of them "
            f"because {summary.excluded[0].error}",
            style="yellow",
            markup=False,
            soft_wrap=True,
        )
    for path in written:
        console.print(f"wrote {path}", markup=False, highlight=False, soft_wrap=True)


def _format_command() -> str:
    """The command line as it was given."""
    return shlex.join(["co3d", *sys.argv[1:]])
