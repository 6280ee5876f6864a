"""Energy by the counters of processors and GPUs, of which this machine need have none."""

import ctypes
import itertools

import pytest
import torch

from co3d.benchmark import energy
from co3d.benchmark.energy import NvmlMeter, RaplMeter, measure_joules, open_meter
from co3d.benchmark.timing import Subject
from co3d.errors import OptionError

CPU = torch.device("cpu")


def make_package(root, number, microjoules, name="package-0", most=1000):
    folder = root / f"intel-rapl:{number}"
    folder.mkdir()
    for file, content in (
        ("name", name),
        ("energy_uj", microjoules),
        ("max_energy_range_uj", most),
    ):
        (folder / file).write_text(f"{content}\n")
    return folder / "energy_uj"


def test_energy_of_packages_is_added_and_counters_may_wrap(tmp_path):
    first = make_package(tmp_path, "0", 900)
    second = make_package(tmp_path, "1", 5, "package-1", most=9)
    make_package(tmp_path, "0:0", 1, "core")
    make_package(tmp_path, "2", 1, "psys")
    meter = open_meter(CPU, tmp_path)
    assert isinstance(meter, RaplMeter)
    assert meter.read_joules() == 0
    first.write_text("1000\n")
    assert meter.read_joules() == pytest.approx(100e-6)
    first.write_text("3\n")  # after 1000 comes 0
    second.write_text("4\n")  # 5 6 7 8 9 0 1 2 3 4
    assert meter.read_joules() == pytest.approx((100 + 4 + 9) * 1e-6)


def test_a_machine_without_counters_says_so(tmp_path):
    with pytest.raises(OptionError, match=r"offers no counter that can be read .* leave --energy"):
        open_meter(CPU, tmp_path)
    make_package(tmp_path, "0", "").write_text("")
    with pytest.raises(OptionError, match="offers no counter that can be read"):
        open_meter(CPU, tmp_path)


class Library:
    """NVML, as far as it is asked."""

    def __init__(self, known=True):
        self.known, self.millijoules = known, 5000

    def nvmlInit_v2(self):  # noqa: N802
        return 0

    def nvmlDeviceGetHandleByUUID(self, uuid, handle):  # noqa: N802
        return 0 if self.known and uuid == b"GPU-1" else 6

    def nvmlDeviceGetTotalEnergyConsumption(self, handle, place):  # noqa: N802
        ctypes.cast(place, ctypes.POINTER(ctypes.c_ulonglong))[0] = self.millijoules
        return 0


def test_a_gpu_is_found_by_its_index():
    library = Library()
    meter = NvmlMeter(library, "GPU-1")
    assert meter.read_joules() == 5.0
    library.millijoules += 250
    assert meter.read_joules() == 5.25
    with pytest.raises(OSError, match="does not know"):
        NvmlMeter(Library(known=False), "GPU-1")


def test_energy_is_given_per_prediction(monkeypatch):
    calls = []

    class Counter:
        def read_joules(self):
            return 3.0 * len(calls)

    ticks = itertools.count()
    subject = Subject(lambda: calls.append(1), samples=1, steps=2, predictions=0.5)
    assert measure_joules(subject, Counter(), lambda: next(ticks) / 10) == pytest.approx(3.0)
    assert len(calls) == energy.WARM_CALLS + 9
