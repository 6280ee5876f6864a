"""`co3d features`: write a layer's outputs for the videos of a data set."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from co3d.cli.data_choice import DataChoice, name_subject, warn_of_order
from co3d.cli.evaluate import STOPPED_NOTE, show_progress
from co3d.cli.exit_codes import STOPPED, SUCCESS
from co3d.cli.interrupts import interrupt_on_signals
from co3d.cli.mode_options import Mode, check_minimums, refuse_other_mode, refuse_rate
from co3d.cli.subjects import open_subject
from co3d.compiler.options import ConvertOptions
from co3d.console import Console
from co3d.datasets.layouts import ALL, describe_splits, open_dataset
from co3d.datasets.manifest import Manifest
from co3d.datasets.sampling import Sampling
from co3d.errors import OptionError
from co3d.evaluation.feature_files import SUFFIXES, Format, open_features
from co3d.evaluation.feature_picture import FeatureSample, draw_features
from co3d.evaluation.feature_store import FeatureStore
from co3d.evaluation.features import VideoFeatures, clip_features, stream_features
from co3d.evaluation.jobs import Job, make_jobs
from co3d.evaluation.layer import LayerFeatures
from co3d.evaluation.projection import Projection, refuse_numba_settings
from co3d.evaluation.ranks import Rank
from co3d.evaluation.subject import describe_backend, describe_subject
from co3d.export.program_cache import convert_or_read
from co3d.files import own_folder
from co3d.models import ModelCard
from co3d.packages import is_installed, require_package
from co3d.printable import dump_json
from co3d.runtime import compile as compile_program

PARTS = "parts"
"""Folder of finished videos, until all are done."""


@dataclass(frozen=True)
class FeatureOptions:
    """The options of `co3d features`, as the command line gives them.

    Attributes:
        data: data set or manifest. split: of the data set. choice: classes and their names.
        model: registry name, folder of a run or FILE.py:FACTORY. weights: tag or path.
        layer: path of a module in the network.
        mode: a row per clip, or per frame. clips: per video, in clip mode.
        rate_hz: overrides the model's. backend, precision: of streams.
        limit: the most videos. output: folder. kind: of the file. projection: of the picture.
        strict: stop at a bad video.
        as_json: print what was written as JSON.
    """

    data: Path
    split: str | None
    choice: DataChoice
    model: str
    weights: str | None
    layer: str
    mode: Mode
    clips: int | None
    rate_hz: float | None
    backend: str | None
    precision: str | None
    limit: int | None
    output: Path
    kind: Format
    projection: Projection
    strict: bool
    as_json: bool


def extract_features(options: FeatureOptions) -> int:
    """Write the features of a layer and a picture of them.

    Returns:
        The exit code: 130 when a signal stopped it; then there are no files, and the same command
        continues with the remaining videos.

    Raises:
        OptionError, DataError, OutputError, MissingPackageError, ConversionError and what
            `create_model` raises.
    """
    _check_options(options)
    subject = open_subject(options.model, options.weights, purpose="take features of")
    subject, labels = name_subject(subject, options.choice)
    card = subject.card
    if subject.model is None:
        raise OptionError(
            f"cannot take features of {options.model}: an exported file has no layers; "
            "name the network that it was made of"
        )
    manifest = open_dataset(
        options.data,
        split=options.split or ALL,
        classes=card.labels or None,
        **options.choice.list_keywords(labels),
    )
    warn_of_order(subject, manifest)
    console = Console(stderr=True)
    if len(manifest.splits) > 1:
        console.print(f"Taking all splits: {describe_splits(manifest)}", highlight=False)
    jobs = make_jobs(manifest, subject.classes, options.limit)
    network = LayerFeatures(subject.model, options.layer)
    with torch.inference_mode():  # rejects a layer without features before any work
        channels = network(torch.zeros(1, *card.clip_shape)).shape[1]
    extract, chosen = _open_extractor(options, manifest, network, card)
    settings = {
        "model": options.model,
        "weights": options.weights or "its own",
        "layer": options.layer,
        "data": options.data.resolve().name,
        "split": options.split,
        **describe_subject(subject, manifest),
        "mode": options.mode,
        **chosen,
    }
    with own_folder(options.output):
        store = FeatureStore(options.output / PARTS, settings)
        left = [job for job in jobs if store.find(job) is None]
        excluded: dict[str, str] = {}
        try:
            with interrupt_on_signals(), show_progress(console, Rank()) as report:
                for done, features in enumerate(extract(left), 1):
                    if features.error is None:
                        store.add(features)
                    else:
                        excluded[features.job.entry.video_id] = features.error
                    report(done, len(left))
        except KeyboardInterrupt:
            console.print(STOPPED_NOTE, soft_wrap=True)
            return STOPPED
        path = options.output / f"features{SUFFIXES[options.kind]}"
        sample, rows = FeatureSample(), 0
        with open_features(path, options.kind) as sink:
            for features in filter(None, map(store.find, jobs)):
                sink.add(features)
                sample.add(features)
                rows += len(features.features)
        store.remove()
        written = [path]
        if sample.rows:
            written.append(options.output / "features.png")
            title = f"{options.model}, {options.layer}, a point per {_unit(options.mode)}"
            draw_features(
                sample,
                manifest.class_names,
                written[-1],
                title=title,
                projection=options.projection,
            )
    result = {
        "rows": rows,
        "resumed": len(jobs) - len(left),
        "channels": channels,
        "excluded": excluded,
        "files": [str(file) for file in written],
    }
    if options.as_json:
        print(dump_json(result))
    else:
        print(f"{rows} rows of {channels} features, a row per {_unit(options.mode)}")
        for file in written:
            console.print(f"wrote {file}", markup=False, highlight=False, soft_wrap=True)
    if excluded:
        console.print(
            f"{len(excluded)} videos are left out, the first of them because "
            f"{next(iter(excluded.values()))}",
            style="yellow",
            markup=False,
            soft_wrap=True,
        )
    return SUCCESS


def _open_extractor(
    options: FeatureOptions, manifest: Manifest, network: LayerFeatures, card: ModelCard
) -> tuple[Callable[[list[Job]], Iterator[VideoFeatures]], dict[str, Any]]:
    """The feature extractor, and its settings."""
    rate_hz = options.rate_hz or card.rate_hz
    settings: dict[str, Any] = {"rate_hz": rate_hz}
    strict = options.strict
    if options.mode == "clip":
        sampling = Sampling(views=options.clips or 1, rate_hz=rate_hz)
        extract = partial(clip_features, manifest, network, card, sampling=sampling, strict=strict)
        return extract, settings | {"clips": sampling.views}
    program = convert_or_read(network, card.clip_shape, ConvertOptions())
    compiled = compile_program(
        program, backend=options.backend or "auto", precision=options.precision or "float32"
    )
    extract = partial(stream_features, manifest, compiled, card, rate_hz=rate_hz, strict=strict)
    return extract, settings | {"backend": describe_backend(compiled)}


def _check_options(options: FeatureOptions) -> None:
    """Check the options before anything is opened."""
    refuse_other_mode(
        "extract",
        options.mode,
        {"--clips": options.clips},
        {"--backend": options.backend, "--precision": options.precision},
    )
    check_minimums("extract", {"--limit": options.limit, "--clips": options.clips})
    refuse_rate("extract", options.rate_hz)
    if options.kind == "parquet":  # raises before any work if it is missing
        require_package("pyarrow", extra="evaluation")
    if options.projection == "umap":
        refuse_numba_settings()
        if not is_installed("umap"):
            require_package("umap", extra="umap")


def _unit(mode: Mode) -> str:
    return "clip" if mode == "clip" else "frame"
