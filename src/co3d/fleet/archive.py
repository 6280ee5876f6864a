"""`label_archive`: label every video of an archive frame by frame, into one Parquet file each."""

import json
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

from torch import nn

from co3d.arguments import check_arguments
from co3d.datasets.manifest import VideoEntry
from co3d.files import output_file, own_folder
from co3d.fleet.listing import list_archive
from co3d.fleet.network import ArchiveNetwork, open_network
from co3d.fleet.parts import require_parquet
from co3d.fleet.plan import ArchivePlan
from co3d.fleet.ray_data import RayCluster, label_on_ray
from co3d.fleet.worker import ArchiveWorker, Outcome

# Readers of Parquet folders skip names that begin with an underscore.
ARCHIVE, REPORT = "_archive.json", "_report.json"


@dataclass(frozen=True)
class ArchiveReport:
    """The result for an archive.

    Attributes:
        videos: number of videos.
        labelled: how many this run labelled. resumed: how many earlier runs had labelled.
        rows: of all parts.
        bad: video -> why it has no part, or why its part ends before the video does.
    """

    videos: int
    labelled: int
    resumed: int
    rows: int
    bad: dict[str, str]


@check_arguments()
def label_archive(
    sources: Sequence[str | Path],
    output: str | Path,
    *,
    model: str | nn.Module = "camera_motion",
    weights: str | None = None,
    window: int | None = None,
    labels: Sequence[str] | None = None,
    rate_hz: float | None = None,
    probabilities: bool = False,
    layer: str | None = None,
    backend: str = "auto",
    precision: str | None = None,
    device: str = "cpu",
    at_once: int | None = None,
    cluster: RayCluster | None = None,
    report: Callable[[int, int], None] = lambda _done, _total: None,
) -> ArchiveReport:
    """Label every video of an archive frame by frame, into one Parquet file a video.

    A file appears only when it is complete and on disk, so the same call resumes after an
    interruption or a kill: videos that have their file are skipped. The rows are those of
    `co3d.label_video`, with the columns `video`, `pts_seconds`, and `label` and `probability`,
    `probabilities` or `features`. The result, and the file `_report.json`, list what could not be
    read; the rows of a damaged video end at the damage.

    Args:
        sources: videos, folders of them, lists and manifests; see `list_archive`.
        output: folder for the files, created if absent.
        model, weights, window, labels: as for `open_labeller`.
        rate_hz: frames per second to sample; None takes the network's own.
        probabilities: write the probabilities of all labels.
        layer: path of a module in the network; its features are written in place of labels.
        backend, precision, device: as for `co3d.compile`.
        at_once: videos that are open at once; None for the number of cores (on a GPU one) plus one.
        cluster: a Ray cluster that labels, with the same rows; None for this process.
        report: called after each video with the number of videos that are done, and of all.

    Raises:
        OptionError: an argument is out of range, or the folder holds an archive made with other
            options; the message says which.
        DataError: a list cannot be read, or there is no video.
        OutputError: the folder cannot be written, or another run is using it.
        MissingPackageError: pyarrow is not installed, or Ray for a cluster.
        Co3dError: the network cannot be opened; see `open_labeller`.
    """
    require_parquet()  # fail before any work
    network = open_network(model, weights, window, layer, labels)
    plan = ArchivePlan(
        network.card.rate_hz if rate_hz is None else rate_hz,
        "features" if layer is not None else "probabilities" if probabilities else "label",
        backend=backend,
        precision=precision,
        device=device,
        at_once=at_once,
    )
    entries, folder = list_archive(sources).entries, Path(output).absolute()
    with own_folder(folder):
        if cluster is None:
            labelled = _label_here(network, plan, entries, folder)
        else:
            labelled = label_on_ray(network, plan, entries, folder, folder / ARCHIVE, cluster)
        with closing(labelled) as outcomes:
            return _gather(outcomes, folder, len(entries), report)


def _label_here(
    network: ArchiveNetwork, plan: ArchivePlan, entries: Sequence[VideoEntry], folder: Path
) -> Generator[Outcome, None, None]:
    with plan.start_engine(network.convert(), network.card) as engine:
        header = plan.make_header(engine.compiled, network.identity)
        header.check_or_write(folder / ARCHIVE)
        yield from ArchiveWorker(engine, plan, header, folder).label_all(entries)


def _gather(
    outcomes: Iterable[Outcome], folder: Path, videos: int, report: Callable[[int, int], None]
) -> ArchiveReport:
    """Count the outcomes of all videos, and write the counts beside the parts."""
    rows = resumed = 0
    bad: dict[str, str] = {}
    labelled = 0
    for done, outcome in enumerate(outcomes, 1):
        rows += outcome.rows
        resumed += outcome.existed
        labelled += bool(outcome.rows) and not outcome.existed
        if outcome.error is not None:
            bad[outcome.video_id] = outcome.error
        report(done, videos)
    result = ArchiveReport(videos, labelled, resumed, rows, dict(sorted(bad.items())))
    with output_file(folder / REPORT) as temporary:
        text = json.dumps(asdict(result), indent=2, ensure_ascii=False) + "\n"
        temporary.write_text(text, "utf-8", errors="backslashreplace")
    return result
