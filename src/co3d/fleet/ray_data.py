"""Archives on a Ray cluster: Ray Data passes videos to actors with one engine each.

Rows do not pass through Ray: an actor writes its videos' parts itself, each completely or not at
all. When Ray reruns work after it lost a worker or a node, finished parts are found and skipped.
"""

import importlib
import json
import logging
import platform
from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from co3d.datasets.manifest import VideoEntry
from co3d.errors import Co3dError, OptionError
from co3d.evaluation.header import Header
from co3d.fleet.network import ArchiveNetwork, unpack
from co3d.fleet.plan import ArchivePlan
from co3d.fleet.worker import ArchiveWorker, Outcome
from co3d.packages import require_package
from co3d.sandbox import find_sandbox

MOST_TASKS = 1024
"""The number of tasks into which an archive is divided. A lost task reruns, and skips what is
done."""

LOCAL = "local"


@dataclass(frozen=True)
class RayCluster:
    """Where an archive is labelled, and the resources of each engine.

    Attributes:
        address: of the cluster, as for `ray.init`; "auto" for the one that this machine belongs to,
            "local" for a temporary one on this machine.
        cpus: cores per engine. gpus: GPUs per engine; 0 for none.
    """

    address: str = "auto"
    cpus: int = 1
    gpus: float = 0

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            OptionError: a number is out of range.
        """
        if self.cpus < 1 or self.gpus < 0:
            raise OptionError(
                f"cannot label on Ray with {self.cpus} cores and {self.gpus} cards an engine: "
                "expected at least 1 core and 0 cards"
            )


def label_on_ray(
    network: ArchiveNetwork,
    plan: ArchivePlan,
    entries: Sequence[VideoEntry],
    folder: Path,
    archive: Path,
    cluster: RayCluster,
) -> Generator[Outcome, None, None]:
    """Label videos on a cluster whose nodes all see them and the folder under the same paths.

    Args:
        folder: of the parts. archive: the file in it that holds the header.
    Yields:
        The outcome of each video, once each.

    Raises:
        MissingPackageError: Ray is not installed.
        OptionError: the cluster is not reachable, or its nodes would make other rows than before.
        Other errors of `ArchiveWorker.label_all`.
    """
    if find_sandbox() is not None:
        raise OptionError(
            "cannot label on Ray in a sandbox: videos are read on other machines; leave --sandbox "
            "out"
        )
    ray = require_package("ray", extra="ray")
    data = importlib.import_module("ray.data")
    with TemporaryDirectory() as scratch:
        files = network.pack(Path(scratch))
    is_ours = not ray.is_initialized()
    if is_ours:
        _connect(ray, cluster.address)
    try:
        needs = {"num_cpus": cluster.cpus, "num_gpus": cluster.gpus}
        kept_files = ray.put(files)
        describe = ray.remote(max_retries=-1, **needs)(_describe)
        header = ray.get(describe.remote(kept_files, plan, network.identity, cluster.cpus))
        header.check_or_write(archive)
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        context = data.DataContext.get_current()
        context.enable_progress_bars = context.print_on_execution_start = False
        most = max(1, int(ray.cluster_resources().get("CPU", 1) // cluster.cpus))
        outcomes = data.from_items(
            [json.dumps(asdict(entry)) for entry in entries],
            override_num_blocks=min(len(entries), MOST_TASKS),
        ).map_batches(
            _Actor,
            fn_constructor_args=(kept_files, plan, network.identity, header, folder, cluster.cpus),
            batch_size=None,
            compute=data.ActorPoolStrategy(min_size=1, max_size=most),
            **needs,
        )
        for row in outcomes.iter_rows():
            yield Outcome(**json.loads(row["outcome"]))
    except ray.exceptions.RayError as error:
        raise _find_own(error) or error from None
    finally:
        if is_ours:
            ray.shutdown()


class _Actor:
    """One engine on a node, which labels the videos that Ray Data passes to it."""

    def __init__(
        self,
        files: Any,
        plan: ArchivePlan,
        identity: Mapping[str, Any],
        header: Header,
        folder: Path,
        cpus: int,
    ) -> None:
        files = importlib.import_module("ray").get(files)
        engine = _open(files, plan, cpus)
        own, wanted = plan.make_header(engine.compiled, identity).settings, header.settings
        if own["backend"] != wanted["backend"]:
            engine.close()
            raise OptionError(
                f"cannot label on the node {platform.node()}: it has {own['backend']}, expected "
                f"{wanted['backend']} as the archive's other nodes; give a --backend that all have"
            )
        self._worker = ArchiveWorker(engine, plan, header, folder)

    def __call__(self, batch: Mapping[str, Any]) -> Generator[dict[str, list[str]], None, None]:
        entries = [_read_entry(text) for text in batch["item"]]
        for outcome in self._worker.label_all(entries):
            yield {"outcome": [json.dumps(asdict(outcome))]}


def _describe(
    files: Mapping[str, bytes], plan: ArchivePlan, identity: Mapping[str, Any], cpus: int
) -> Header:
    """The header of an archive that such a node makes."""
    with _open(files, plan, cpus) as engine:
        return plan.make_header(engine.compiled, identity)


def _open(files: Mapping[str, bytes], plan: ArchivePlan, cpus: int) -> Any:
    torch.set_num_threads(cpus)
    with TemporaryDirectory() as scratch:
        program, card = unpack(files, Path(scratch))
        return plan.start_engine(program, card)


def _read_entry(text: str) -> VideoEntry:
    values = json.loads(text)
    return VideoEntry(**{**values, "labels": (), "segments": ()})


def _connect(ray: Any, address: str) -> None:
    """Join the cluster.

    Raises:
        OptionError: it is not reachable.
    """
    try:
        ray.init(
            address=None if address == LOCAL else address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            configure_logging=False,
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise OptionError(
            f"cannot reach a Ray cluster at {address!r}: {reason}; start one with `ray start "
            "--head`, or give --ray local"
        ) from error


def _find_own(error: BaseException | None) -> Co3dError | None:
    """The co3d error raised on a node, extracted from Ray's exception."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, Co3dError) and type(error).__module__ == Co3dError.__module__:
            return error
        seen.add(id(error))
        error = getattr(error, "cause", None) or error.__cause__ or error.__context__
    return None
