"""Cameras per core from the cost of a frame, and the hardware that sites of them need."""

import pytest

from co3d.fleet.capacity import (
    CameraCost,
    Machine,
    Storage,
    count_cameras_per_card,
    count_cameras_per_core,
    find_need,
    multiply,
)

DOOR = CameraCost("door", 640, 360, 4.0, 1.5, 8.5, 2000.0, 10**7)  # 40 ms of a core a second
YARD = CameraCost("yard", 1920, 1080, 2.0, 11.5, 8.5, None, 10**7)  # 40 ms
CORES, CARD = Machine(8, 0, 10.0), Machine(8, 1, 10.0)
NOTHING = Storage(0.0, 10.0, records=False, keep_days=30.0)


def test_cameras_a_core_at_a_load_of_80_percent():
    assert count_cameras_per_core(DOOR, CORES) == pytest.approx(20)
    assert count_cameras_per_card(DOOR, CORES) is None


def test_with_a_gpu_cores_only_decode():
    assert count_cameras_per_core(DOOR, CARD) == pytest.approx(0.8 / 0.006)
    assert count_cameras_per_card(DOOR, CARD) == pytest.approx(0.8 / 0.034)


def test_a_site_takes_whole_machines():
    need = find_need([DOOR, YARD], {"door": 150}, CORES, NOTHING)
    assert need.cameras == 151
    assert need.cores == pytest.approx(151 * 0.04 / 0.8)  # 7.55 of 8
    assert (need.machines, need.cards) == (1, 0)
    assert find_need([DOOR, YARD], {"door": 160}, CORES, NOTHING).machines == 2
    assert find_need([DOOR], {"door": 0}, CORES, NOTHING).machines == 0
    # One GPU steps 23.5 of them, and the cores of its machine decode 1066.
    assert find_need([DOOR], {"door": 24}, CARD, NOTHING).machines == 2
    assert find_need([DOOR], {"door": 23}, CARD, NOTHING).machines == 1


def test_every_step_reads_and_writes_all_states():
    need = find_need([DOOR], {"door": 100}, CORES, NOTHING)
    assert need.state_bytes == 10**9
    assert need.memory_share == pytest.approx(100 * 4 * 10**7 * 2 / 10e9)


def test_network_and_storage():
    clips = Storage(24.0, 10.0, records=False, keep_days=10.0)
    need = find_need([DOOR], {"door": 3}, CORES, clips)
    assert need.network_kbps == 6000.0
    assert need.storage_bytes == pytest.approx(6e6 / 8 * 240 * 10)
    whole = find_need([DOOR], {"door": 3}, CORES, Storage(24.0, 10.0, True, 10.0))
    assert whole.storage_bytes == pytest.approx(6e6 / 8 * 86_400 * 10)
    busy = find_need([DOOR], {"door": 3}, CORES, Storage(1e6, 10.0, False, 10.0))
    assert busy.storage_bytes == whole.storage_bytes  # because clips of one camera then overlap
    unknown = find_need([DOOR, YARD], {}, CORES, clips)
    assert (unknown.network_kbps, unknown.storage_bytes) == (None, None)


def test_a_million_cameras():
    site = find_need([DOOR], {"door": 250}, CORES, NOTHING)
    fleet = multiply(site, 4000)
    assert (fleet.cameras, fleet.machines) == (1_000_000, 8000)  # 12.5 cores, of 8 a machine
    assert fleet.cores == pytest.approx(50_000)
    assert fleet.network_kbps == 250 * 2000.0 * 4000
    assert fleet.memory_share == site.memory_share
