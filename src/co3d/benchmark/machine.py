"""Describe the machine of a measurement."""

import os
import platform
from pathlib import Path

import torch

from co3d.packages import find_version

PACKAGES = (
    "co3d",
    "torch",
    "onnxruntime",
    "openvino",
    "triton",
    "continual-inference",
    "pytorchvideo",
    "numpy",
)


def describe_hardware(device: torch.device | None = None) -> str:
    """Processor and number of logical cores, preceded by the device if it is not the CPU."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    processor = f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores"
    if device is None or device.type == "cpu":
        return processor
    name = f" ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else ""
    return f"{device}{name}, {processor}"


def list_versions() -> dict[str, str]:
    """Versions of Python and of the packages involved, if they are installed."""
    versions = {"python": platform.python_version()}
    found = {package: find_version(package) for package in PACKAGES}
    return versions | {package: number for package, number in found.items() if number is not None}
