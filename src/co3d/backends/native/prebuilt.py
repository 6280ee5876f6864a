"""Finds the kernels that a binary wheel contains: one library for each kind of processor."""

import functools
import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path

SOURCES = Path(__file__).parent / "kernels"
PREBUILT = Path(__file__).parent / "prebuilt"
MANIFEST = "manifest.json"
_LOG = logging.getLogger("co3d")

_AVX2 = ("avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe")
_AVX512 = (*_AVX2, "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl")
_BFLOAT16 = (*_AVX512, "avx512_bf16")


@dataclass(frozen=True)
class Variant:
    """One library of a wheel.

    Attributes:
        name: the file's name without its suffix.
        options: the compiler's options for such processors.
        features: the features that a processor must have, as /proc/cpuinfo names them.
    """

    name: str
    options: tuple[str, ...]
    features: tuple[str, ...]


# Best first: a processor gets the first one that it can run.
VARIANTS = (
    Variant(
        "amx",
        ("-march=x86-64-v4", "-mavx512bf16", "-mamx-tile", "-mamx-bf16"),
        (*_BFLOAT16, "amx_tile", "amx_bf16"),
    ),
    Variant("avx512_bf16", ("-march=x86-64-v4", "-mavx512bf16"), _BFLOAT16),
    Variant("avx512", ("-march=x86-64-v4",), _AVX512),
    Variant("avx2", ("-march=x86-64-v3",), _AVX2),
)


@functools.cache
def list_features() -> frozenset[str]:
    """The processor's features, as /proc/cpuinfo names them; empty where there is no such file."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    for line in lines:
        name, _, values = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(values.split())
    return frozenset()


@functools.cache
def digest_sources() -> str:
    """SHA-256 of the kernels' sources; libraries built from other sources are not loaded."""
    digest = hashlib.sha256()
    for source in sorted(SOURCES.iterdir()):
        digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    return digest.hexdigest()


def write_manifest(folder: Path) -> None:
    """Write the SHA-256 of the sources, and of each library in a folder, to its manifest."""
    libraries = {path.name: _digest(path) for path in sorted(folder.glob("*.so"))}
    manifest = {"sources": digest_sources(), "libraries": libraries}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")


def find_prebuilt(folder: Path = PREBUILT) -> Path | None:
    """The wheel's best library for this processor; None where there is none.

    A library is used only if its SHA-256 is the one in the wheel's manifest, and if it was built
    from the present sources of the kernels.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        if manifest["sources"] != digest_sources():
            return None
        libraries = dict(manifest["libraries"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        _LOG.warning("%s is damaged (%s): install co3d again", folder / MANIFEST, error)
        return None
    for variant in VARIANTS:
        path = folder / f"{variant.name}.so"
        if path.name in libraries and list_features().issuperset(variant.features):
            if path.is_file() and _digest(path) == libraries[path.name]:
                return path
            _LOG.warning("%s is damaged: install co3d again", path)
    return None


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
