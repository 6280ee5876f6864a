"""`co3d capacity`: how many cameras a core and a site serve, and what a whole fleet needs."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from co3d.benchmark.machine import describe_hardware
from co3d.cli.columns import open_table
from co3d.cli.exit_codes import SUCCESS
from co3d.console import Console, warn
from co3d.engine.opening import open_engine
from co3d.fleet.capacity import (
    CameraCost,
    Machine,
    Need,
    Storage,
    count_cameras_per_card,
    count_cameras_per_core,
    find_need,
    multiply,
)
from co3d.fleet.measuring import measure_camera, measure_copy_gb_per_second
from co3d.packages import require_package

UNKNOWN = "unknown"
USUAL_KEEP_DAYS = 30.0


def plan_capacity(path: Path, *, as_json: bool) -> int:
    """Measure each camera of a fleet file here, and print what a fleet of such cameras needs.

    Returns:
        The exit code, 0.

    Raises:
        FleetError: the file cannot be used.
        MissingPackageError: PyYAML or pydantic is not installed.
        Co3dError: the network or a camera cannot be opened.
    """
    for package in ("yaml", "pydantic"):
        require_package(package, extra="watch")
    from co3d.engine.fleet_file import read_fleet

    fleet = read_fleet(path)
    cameras, wanted = fleet.list_cameras(), fleet.capacity
    costs = []
    with open_engine(**fleet.network.list_keywords(), workers=0) as engine:
        for number, camera in enumerate(cameras):
            warn(f"measuring {camera.name}, {number + 1} of {len(cameras)}: 20 s or more")
            costs.append(measure_camera(engine.compiled, engine.card, camera, wanted.bit_rate_kbps))
        device, backend = engine.compiled.device, engine.compiled.backend
    machine = Machine(
        wanted.cores or torch.get_num_threads(),
        0 if device.type == "cpu" else 1,
        measure_copy_gb_per_second(),
    )
    storage = Storage(
        wanted.events_per_day,
        wanted.clip_seconds,
        wanted.records,
        fleet.events.keep_days or USUAL_KEEP_DAYS,
    )
    site = find_need(costs, wanted.counts, machine, storage)
    whole = multiply(site, wanted.sites)
    hardware = describe_hardware(device)
    if as_json:
        said = {
            "hardware": hardware,
            "backend": backend,
            "machine": asdict(machine),
            "cameras": [_list_fields(cost, machine) for cost in costs],
            "sites": wanted.sites,
            "site": asdict(site),
            "fleet": asdict(whole),
        }
        print(json.dumps(said))
    else:
        console = Console(highlight=False)
        console.print(f"measured on {hardware}; {backend}", soft_wrap=True)
        console.print(_tabulate_cameras(costs, machine))
        console.print(_tabulate_needs(site, whole, wanted.sites, machine))
    return SUCCESS


def _list_fields(cost: CameraCost, machine: Machine) -> dict[str, Any]:
    return {
        **asdict(cost),
        "cameras_per_core": count_cameras_per_core(cost, machine),
        "cameras_per_card": count_cameras_per_card(cost, machine),
    }


def _tabulate_cameras(costs: Sequence[CameraCost], machine: Machine) -> Table:
    titles = ["pictures", "labelled/s", "decode ms", "step ms", "kbit/s", "cameras/core"]
    table = open_table(["camera", *titles, *(["cameras/card"] if machine.cards else [])])
    for cost in costs:
        per_card = count_cameras_per_card(cost, machine)
        table.add_row(
            cost.name,
            f"{cost.width}x{cost.height}",
            f"{cost.rate_hz:g}",
            f"{cost.source_ms:.2f}",
            f"{cost.step_ms:.2f}",
            UNKNOWN if cost.bit_rate_kbps is None else f"{cost.bit_rate_kbps:.0f}",
            f"{count_cameras_per_core(cost, machine):.1f}",
            *([] if per_card is None else [f"{per_card:.0f}"]),
        )
    return table


def _tabulate_needs(site: Need, whole: Need, sites: int, machine: Machine) -> Table:
    table = open_table(["", "a site", f"{sites} sites" if sites > 1 else "in all"])
    both = (site, whole)

    def add(name: str, *cells: str) -> None:
        table.add_row(name, *cells)

    add("cameras", *(f"{need.cameras:,}" for need in both))
    add("cores, at 80 %", *(f"{need.cores:,.1f}" for need in both))
    if machine.cards:
        add("cards, at 80 %", *(f"{need.cards:,.1f}" for need in both))
    add(f"machines of {machine.cores} cores", *(f"{need.machines:,}" for need in both))
    add("memory for states", *(_format_bytes(need.state_bytes) for need in both))
    add("of a machine's memory bandwidth", f"{site.memory_share:.1%}", "")
    add(
        "network",
        *(
            UNKNOWN if need.network_kbps is None else f"{need.network_kbps / 1e3:,.1f} Mbit/s"
            for need in both
        ),
    )
    add(
        "storage",
        *(
            UNKNOWN if need.storage_bytes is None else _format_bytes(need.storage_bytes)
            for need in both
        ),
    )
    return table


def _format_bytes(count: float) -> str:
    for unit, size in (("PB", 1e15), ("TB", 1e12), ("GB", 1e9)):
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count / 1e6:,.1f} MB"
