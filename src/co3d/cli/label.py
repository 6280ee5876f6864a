"""`co3d label`: every video of an archive labelled frame by frame."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from co3d.cli.exit_codes import STOPPED, SUCCESS
from co3d.cli.interrupts import interrupt_on_signals
from co3d.cli.progress import open_progress
from co3d.cli.subjects import build_if_own
from co3d.console import say, warn
from co3d.errors import OptionError
from co3d.fleet import ArchiveReport, RayCluster, label_archive
from co3d.models.file_networks import redirect_prints
from co3d.models.labels import read_label_file
from co3d.printable import dump_json

SHOWN = 5


def label_videos(
    sources: Sequence[str],
    output: Path,
    model: str,
    weights: str | None,
    *,
    labels: Path | None,
    ray: str | None,
    cpus: int,
    gpus: float,
    as_json: bool,
    **options: Any,
) -> int:
    """Label an archive, and print the result.

    Args:
        sources, output, model, weights, options: as for `label_archive`; a network of the user's
            own is given as FILE.py:FACTORY.
        labels: a file with a class name a line; None for the network's own names.
        ray: address of a cluster; None for this process. cpus, gpus: per engine there.

    Returns:
        The exit code: 130 when a signal stopped it; the same command then continues.

    Raises:
        What `label_archive` raises.
    """
    cluster = None if ray is None else RayCluster(ray, cpus, gpus)
    if cluster is None and (cpus, gpus) != (1, 0.0):
        raise OptionError(
            "cannot place engines with --cpus and --gpus without a cluster: give --ray ADDRESS too"
        )
    with redirect_prints():
        network, left = build_if_own(model, weights)
    try:
        with interrupt_on_signals(), redirect_prints(), open_progress() as progress:  # Ray prints
            task = progress.add_task("videos", total=None)

            def show(done: int, total: int) -> None:
                progress.update(task, completed=done, total=total)

            report = label_archive(
                sources,
                output,
                model=network,
                weights=left,
                labels=None if labels is None else read_label_file(labels),
                cluster=cluster,
                report=show,
                **options,
            )
    except KeyboardInterrupt:
        warn("stopped; run the same command to continue with the remaining videos")
        return STOPPED
    if as_json:
        print(dump_json(asdict(report)))
    else:
        _print(report, output)
    return SUCCESS


def _print(report: ArchiveReport, output: Path) -> None:
    earlier = f", {report.resumed} by an earlier run" if report.resumed else ""
    say(
        f"{report.labelled} of {report.videos} videos labelled{earlier}; {report.rows} rows in "
        f"{output}"
    )
    for video_id, error in list(report.bad.items())[:SHOWN]:
        warn(f"{video_id}: {error}")
    if len(report.bad) > SHOWN:
        warn(f"and {len(report.bad) - SHOWN} more, in {output / '_report.json'}")
