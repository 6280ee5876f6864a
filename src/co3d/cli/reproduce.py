"""`co3d reproduce cox3d`: measure the rows of a paper's table, beside its figures."""

import contextlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from co3d.benchmark.machine import describe_hardware, list_versions
from co3d.benchmark.timing import Subject, measure
from co3d.cli.data_choice import DataChoice
from co3d.cli.evaluate import EvalOptions, evaluate_data
from co3d.cli.exit_codes import STOPPED, SUCCESS
from co3d.cli.interrupts import interrupt_on_signals
from co3d.cli.mode_options import check_minimums
from co3d.cli.options import split_names
from co3d.compiler.options import ConvertOptions
from co3d.console import Console
from co3d.errors import OptionError
from co3d.evaluation.paper_protocol import PAPER_WINDOW
from co3d.evaluation.paper_table import ROWS, Figures, Row, format_rows, read_paper, rows_to_json
from co3d.evaluation.subject import describe_backend
from co3d.export.program_cache import convert_or_read
from co3d.models import create_model
from co3d.runtime import open_stream


@dataclass(frozen=True)
class ReproduceOptions:
    """The options of `co3d reproduce`, as the command line gives them.

    Attributes:
        models: names of networks, which may be joined by commas; empty for all.
        data: Kinetics-400; None skips accuracies.
        split: of the data; None takes the default.
        weights: tag or path. limit: the most videos.
        backend: that runs the streams.
        steps: the least number of timed steps per row.
        output: folder for a report per row.
        as_json: print JSON instead of a table.
    """

    models: Sequence[str]
    data: Path | None
    split: str | None
    weights: str
    limit: int | None
    backend: str
    steps: int
    output: Path
    as_json: bool


def reproduce_cox3d(options: ReproduceOptions) -> int:
    """Measure every row, and print our figures, the paper's, and why they may differ.

    Returns:
        The exit code: 130 when a signal stopped it; finished rows are printed, and the same command
        continues with the remaining videos.

    Raises:
        OptionError: no such network in the table. What `evaluate_data` raises.
    """
    chosen = _choose_rows(options)
    console = Console(stderr=True)
    rows: list[Row] = []
    code = SUCCESS
    try:
        with interrupt_on_signals():
            for model, window in chosen:
                console.print(f"{model}, window {window}", highlight=False)
                top1, differences, code = _measure_accuracy(options, model, window)
                if code != SUCCESS:
                    break
                row = _measure_cost(options, model, window, top1, differences)
                rows.append(row)
    except KeyboardInterrupt:
        code = STOPPED
    if options.as_json:
        ran = {"hardware": describe_hardware(), "versions": list_versions()}
        print(json.dumps({**rows_to_json(rows), **ran}))
    else:
        print("\n".join(format_rows(rows)))
    return code


def _choose_rows(options: ReproduceOptions) -> list[tuple[str, int]]:
    """Check the options before anything is measured; returns the rows."""
    check_minimums("reproduce", {"--limit": options.limit, "--steps": options.steps})
    names = list(dict.fromkeys(model for model, _ in ROWS))
    wanted = split_names(options.models) or names
    if foreign := [name for name in wanted if name not in names]:
        raise OptionError(
            f"cannot reproduce {foreign[0]}: the table has {', '.join(names)}; give --model one of "
            "them"
        )
    return [row for row in ROWS if row[0] in wanted]


def _measure_accuracy(
    options: ReproduceOptions, model: str, window: int
) -> tuple[float | None, tuple[str, ...], int]:
    """Top-1 by the paper's protocol, how the run differs from the paper's, and the exit code."""
    if options.data is None:
        return None, (), SUCCESS
    folder = options.output / f"{model}_{window}"
    evaluation = EvalOptions(
        data=options.data,
        split=options.split,
        choice=DataChoice(),
        head="whole",
        model=model,
        weights=options.weights,
        mode="stream",
        protocol="paper",
        views=None,
        rule=None,
        window=window,
        fill=None,
        init_frames=None,
        backend=options.backend,
        slots=None,
        frame_scores=False,
        rate_hz=None,
        precision=None,
        device="cpu",
        limit=options.limit,
        output=folder,
        strict=False,
        as_json=False,
    )
    with contextlib.redirect_stdout(sys.stderr):
        code = evaluate_data(evaluation)
    if code != SUCCESS:
        return None, (), code
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    differences: tuple[str, ...] = ()
    if window == PAPER_WINDOW:
        figures = [f for f in summary["published"] if ", stream, " in f["measure"]]
        differences = tuple(figures[0]["differences"] if figures else ("weights of other origin",))
    return summary["measures"]["warm"]["top1"], differences, code


def _measure_cost(
    options: ReproduceOptions,
    model: str,
    window: int,
    top1: float | None,
    differences: tuple[str, ...],
) -> Row:
    """The rest of a row, measured with random weights, which do not affect it."""
    network = create_model(model, weights="random")
    program = convert_or_read(network, network.card.clip_shape, ConvertOptions(window=window))
    stream = open_stream(program, backend=options.backend)
    frame = torch.randn(1, *program.frame_shape)
    for _ in range(program.masked_steps):  # before it settles, a stream runs other graphs
        stream.step(frame)
    latency = measure({model: Subject(lambda: stream.step(frame), options.steps)})[model]
    return Row(
        model=model,
        window=window,
        ours=Figures(
            top1=top1,
            macs=program.macs_per_frame,
            parameters=sum(parameter.numel() for parameter in network.parameters()),
            memory_bytes=program.state_bytes,
            frames_per_second=latency.throughput_mean,
        ),
        paper=read_paper(model, window),
        backend=describe_backend(stream.compiled),
        differences=differences,
    )
