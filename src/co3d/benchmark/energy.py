"""Energy per prediction in joules, from the counters of the CPU package (RAPL) or the GPU (NVML).

The counters include idle power and the power of other programs.
"""

import ctypes
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch

from co3d.benchmark.timing import Subject
from co3d.errors import OptionError

POWERCAP = Path("/sys/class/powercap")
NVML = "libnvidia-ml.so.1"
WARM_CALLS, LEAST_SECONDS = 2, 1.0
_PER_JOULE_RAPL, _PER_JOULE_NVML = 1e6, 1e3


class Meter(Protocol):
    """A counter of energy."""

    def read_joules(self) -> float:
        """The energy since some moment; it never decreases."""
        ...


class RaplMeter:
    """The energy of all processor packages, which Linux counts in files.

    Args:
        packages: folders of the packages, such as /sys/class/powercap/intel-rapl:0.
    """

    def __init__(self, packages: list[Path]) -> None:
        self._packages = packages
        self._ranges = [_read(package / "max_energy_range_uj") for package in packages]
        self._last = [_read(package / "energy_uj") for package in packages]
        self._total = 0

    def read_joules(self) -> float:
        """See `Meter`; one wrap-around of a counter since the last call is handled."""
        for place, package in enumerate(self._packages):
            now = _read(package / "energy_uj")
            self._total += (now - self._last[place]) % (self._ranges[place] + 1)
            self._last[place] = now
        return self._total / _PER_JOULE_RAPL


class NvmlMeter:
    """The energy of a GPU, which its driver counts.

    Args:
        library: NVML. uuid: of the GPU, as in "GPU-4f…".
    """

    def __init__(self, library: Any, uuid: str) -> None:
        self._library, self._handle = library, ctypes.c_void_p()
        handle = ctypes.byref(self._handle)
        if library.nvmlInit_v2() or library.nvmlDeviceGetHandleByUUID(uuid.encode(), handle):
            raise OSError("NVML does not know the device")
        self.read_joules()

    def read_joules(self) -> float:
        """See `Meter`."""
        millijoules = ctypes.c_ulonglong()
        count = self._library.nvmlDeviceGetTotalEnergyConsumption
        if count(self._handle, ctypes.byref(millijoules)):
            raise OSError("the device counts no energy")
        return millijoules.value / _PER_JOULE_NVML


def open_meter(device: torch.device, powercap: Path = POWERCAP) -> Meter:
    """The energy counter of a device.

    Args:
        device: of torch. powercap: where Linux has the counters of the processor.

    Raises:
        OptionError: the machine has none, or none that can be read.
    """
    try:
        if device.type == "cuda":
            uuid = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
            return NvmlMeter(ctypes.CDLL(NVML), uuid)
        # Parts of a package have a second number, intel-rapl:0:0, and are included in it.
        packages = [
            folder
            for folder in sorted(powercap.glob("intel-rapl:*"))
            if folder.name.count(":") == 1 and (folder / "name").read_text().startswith("package")
        ]
        if device.type != "cpu" or not packages:
            raise OSError(f"there is no {powercap}/intel-rapl:* of a processor package")
        return RaplMeter(packages)
    except (OSError, ValueError, AttributeError) as error:
        raise OptionError(
            f"cannot measure energy on {device}: this machine offers no counter that can be read "
            f"({error}); leave --energy out, or measure on a machine with RAPL (as root) or NVML"
        ) from error


def measure_joules(
    subject: Subject, meter: Meter, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Joules per prediction, over consecutive calls that take a second or longer.

    Args:
        subject: what to call. meter: the counter. clock: seconds.
    """
    for _ in range(WARM_CALLS):
        subject.call()
    start, before, calls = clock(), meter.read_joules(), 0
    while clock() - start < LEAST_SECONDS:
        subject.call()
        calls += 1
    spent = meter.read_joules() - before
    return spent / (calls * subject.steps * subject.predictions)


def _read(path: Path) -> int:
    return int(path.read_text())
