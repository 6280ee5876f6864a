"""`co3d features`: what a layer says of the videos of a data set."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console

from co3d.backends import open_stream
from co3d.backends.packages import is_installed, require_package
from co3d.cli.evaluate import Mode, show_progress
from co3d.cli.exit_codes import STOPPED, SUCCESS
from co3d.cli.stop_request import stop_on_sigterm
from co3d.datasets.layouts import open_dataset
from co3d.datasets.sampling import Sampling
from co3d.errors import OptionError
from co3d.evaluation.feature_files import SUFFIXES, Format, open_features
from co3d.evaluation.feature_picture import FeatureSample, draw_features
from co3d.evaluation.features import clip_features, stream_features
from co3d.evaluation.jobs import make_jobs
from co3d.evaluation.layer import LayerFeatures
from co3d.evaluation.projection import Projection
from co3d.evaluation.ranks import Rank
from co3d.evaluation.subject import count_classes, open_model
from co3d.stream import convert
from co3d.stream.program import SMALL_NETWORK_MACS


@dataclass(frozen=True)
class FeatureOptions:
    """The options of `co3d features`, as the command line gives them.

    Attributes:
        data: data set or manifest. split: of the data set.
        model: registry name. weights: tag or path. layer: path of a module in it.
        mode: a row per clip, or per frame. clips: of each video, in clip mode.
        rate_hz: overrides the model's. backend, precision: of streams.
        limit: videos at most. output: folder. kind: of the file. projection: of the picture.
        strict: a bad video stops.
        as_json: print what was written as JSON.
    """

    data: Path
    split: str | None
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
        The exit code: 130 when a signal stopped it; the files hold what came before.

    Raises:
        OptionError, DataError, OutputError, MissingPackageError, ConversionError and what
            `create_model` raises.
    """
    _check_options(options)
    model = open_model(options.model, options.weights)
    card = model.card
    manifest = open_dataset(options.data, split=options.split, classes=card.labels or None)
    jobs = make_jobs(manifest, count_classes(model), options.limit)
    network = LayerFeatures(model, options.layer)
    with torch.inference_mode():  # tells of a layer that gives no features before any work
        channels = network(torch.zeros(1, *card.clip_shape)).shape[1]
    rate_hz = options.rate_hz or card.rate_hz
    strict = options.strict
    if options.mode == "clip":
        sampling = Sampling(views=options.clips or 1, rate_hz=rate_hz)
        extracted = clip_features(manifest, network, card, jobs, sampling, strict=strict)
    else:
        program = convert(network, card.clip_shape)
        if program.macs_per_frame < SMALL_NETWORK_MACS:
            torch.set_num_threads(1)
        stream = open_stream(
            program, backend=options.backend or "auto", precision=options.precision or "float32"
        )
        extracted = stream_features(manifest, stream, card, jobs, rate_hz=rate_hz, strict=strict)
    console = Console(stderr=True)
    path = options.output / f"features{SUFFIXES[options.kind]}"
    path.parent.mkdir(parents=True, exist_ok=True)
    sample, excluded, rows, code = FeatureSample(), dict[str, str](), 0, SUCCESS
    with open_features(path, options.kind) as sink:
        try:
            with stop_on_sigterm(), show_progress(console, Rank()) as report:
                for done, features in enumerate(extracted, 1):
                    if features.error is None:
                        sink.add(features)
                        sample.add(features)
                        rows += len(features.features)
                    else:
                        excluded[features.job.entry.video_id] = features.error
                    report(done, len(jobs))
        except KeyboardInterrupt:
            console.print("stopped; the files hold what came before", soft_wrap=True)
            code = STOPPED
    written = [path]
    if sample.rows:
        written.append(options.output / "features.png")
        title = f"{options.model}, {options.layer}, a point per {_unit(options.mode)}"
        draw_features(
            sample, manifest.class_names, written[-1], title=title, projection=options.projection
        )
    result = {
        "rows": rows,
        "channels": channels,
        "excluded": excluded,
        "files": [str(file) for file in written],
    }
    if options.as_json:
        print(json.dumps(result, ensure_ascii=False))
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
    return code


def _check_options(options: FeatureOptions) -> None:
    """Find what cannot work before anything is opened."""
    foreign = {"--clips": options.clips}
    if options.mode == "clip":
        foreign = {"--backend": options.backend, "--precision": options.precision}
    given = [name for name, value in foreign.items() if value is not None]
    if given:
        raise OptionError(
            f"cannot extract in {options.mode} mode with {given[0]}: it belongs to the other; "
            "leave it out"
        )
    if options.projection == "umap" and not is_installed("umap"):
        require_package("umap", extra="umap")  # says how to get it, before the work
    for name, number in (("--limit", options.limit), ("--clips", options.clips)):
        if number is not None and number < 1:
            raise OptionError(f"cannot extract with {name} {number}: expected at least 1")
    if options.rate_hz is not None and not 0 < options.rate_hz < float("inf"):
        raise OptionError(
            f"cannot extract at --rate-hz {options.rate_hz}: expected a rate above 0, such as 6"
        )


def _unit(mode: Mode) -> str:
    return "clip" if mode == "clip" else "frame"
