"""Capacity planning: from a frame's measured cost to cameras per core, machines and storage."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from co3d.engine.admission import LOAD_LIMIT

MS_PER_SECOND, SECONDS_PER_DAY, BITS_PER_BYTE = 1e3, 86_400.0, 8
READ_AND_WRITTEN = 2


@dataclass(frozen=True)
class CameraCost:
    """The measured cost of a camera.

    Attributes:
        name: as in the fleet file. width, height: of its pictures, in pixels.
        rate_hz: frames per second that the network sees.
        source_ms: CPU time per frame for receiving and decoding.
        step_ms: time per frame for preprocessing and steps of all its regions, measured while every
            core of the machine steps; time of a core, or of the GPU if there is one.
        bit_rate_kbps: of its stream; None if unknown.
        state_bytes: size of the network's state for it.
    """

    name: str
    width: int
    height: int
    rate_hz: float
    source_ms: float
    step_ms: float
    bit_rate_kbps: float | None
    state_bytes: int


@dataclass(frozen=True)
class Machine:
    """A machine of the fleet.

    Attributes:
        cores: logical ones. cards: GPUs, on which steps run; 0 if they run on the cores.
        copy_gb_per_second: 10⁹ bytes per second that its memory reads and writes.
    """

    cores: int
    cards: int
    copy_gb_per_second: float


@dataclass(frozen=True)
class Storage:
    """What is stored of the cameras' video.

    Attributes:
        events_per_day: per camera. clip_seconds: stored per event.
        records: whether everything is stored. keep_days: for how long.
    """

    events_per_day: float
    clip_seconds: float
    records: bool
    keep_days: float


@dataclass(frozen=True)
class Need:
    """The hardware that some cameras need, at a load of 80 %.

    Attributes:
        cameras: how many.
        cores, cards: as fractions; cards are 0 where steps run on cores.
        machines: whole ones.
        memory_share: the share of a machine's memory bandwidth that states take at most.
        state_bytes: of all states. network_kbps: of all streams. storage_bytes: of stored video;
            these two are None if a bit rate is unknown.
    """

    cameras: int
    cores: float
    cards: float
    machines: int
    memory_share: float
    state_bytes: int
    network_kbps: float | None
    storage_bytes: float | None


def count_cameras_per_core(cost: CameraCost, machine: Machine) -> float:
    """How many such cameras a core serves at a load of 80 %, which is the engine's limit."""
    return LOAD_LIMIT / _count_cores(cost, machine)


def count_cameras_per_card(cost: CameraCost, machine: Machine) -> float | None:
    """How many such cameras a GPU steps at that load; None if steps run on cores."""
    return LOAD_LIMIT / _count_cards(cost, machine) if machine.cards else None


def find_need(
    costs: Sequence[CameraCost], counts: Mapping[str, int], machine: Machine, storage: Storage
) -> Need:
    """The hardware that one site needs.

    Args:
        costs: per kind of camera. counts: name -> number of such cameras; 1 if not given.
    """
    numbered = [(cost, counts.get(cost.name, 1)) for cost in costs]
    cores = sum(count * _count_cores(cost, machine) for cost, count in numbered) / LOAD_LIMIT
    cards = sum(count * _count_cards(cost, machine) for cost, count in numbered) / LOAD_LIMIT
    machines = math.ceil(
        max(cores / machine.cores, cards / machine.cards if machine.cards else 0.0)
    )
    moved = sum(
        count * cost.rate_hz * cost.state_bytes * READ_AND_WRITTEN for cost, count in numbered
    )
    rates = [
        None if cost.bit_rate_kbps is None else count * cost.bit_rate_kbps
        for cost, count in numbered
    ]
    network_kbps = None if None in rates else sum(rate for rate in rates if rate is not None)
    return Need(
        cameras=sum(count for _, count in numbered),
        cores=cores,
        cards=cards,
        machines=machines,
        memory_share=moved / max(machines, 1) / (machine.copy_gb_per_second * 1e9),
        state_bytes=sum(count * cost.state_bytes for cost, count in numbered),
        network_kbps=network_kbps,
        storage_bytes=None if network_kbps is None else _count_bytes(network_kbps, storage),
    )


def multiply(need: Need, sites: int) -> Need:
    """The hardware that several equal sites need; machines are not shared between sites."""
    return Need(
        cameras=need.cameras * sites,
        cores=need.cores * sites,
        cards=need.cards * sites,
        machines=need.machines * sites,
        memory_share=need.memory_share,
        state_bytes=need.state_bytes * sites,
        network_kbps=None if need.network_kbps is None else need.network_kbps * sites,
        storage_bytes=None if need.storage_bytes is None else need.storage_bytes * sites,
    )


def _count_cores(cost: CameraCost, machine: Machine) -> float:
    """Number of cores that one such camera keeps busy."""
    spent_ms = cost.source_ms + (0.0 if machine.cards else cost.step_ms)
    return cost.rate_hz * spent_ms / MS_PER_SECOND


def _count_cards(cost: CameraCost, machine: Machine) -> float:
    return cost.rate_hz * cost.step_ms / MS_PER_SECOND if machine.cards else 0.0


def _count_bytes(network_kbps: float, storage: Storage) -> float:
    """Bytes stored for streams of so many kilobits a second."""
    day_bytes = network_kbps * 1e3 / BITS_PER_BYTE * SECONDS_PER_DAY
    clips = storage.events_per_day * storage.clip_seconds / SECONDS_PER_DAY
    return day_bytes * storage.keep_days * (1.0 if storage.records else min(1.0, clips))
