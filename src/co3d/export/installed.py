"""Tells which code belongs to Python, to co3d or to an installed distribution, and their versions.

Such code is identified by its version, and co3d's own by the content of its files. All other code
is the user's own, which no version identifies.
"""

import hashlib
import platform
import site
import sys
import sysconfig
from functools import cache
from pathlib import Path
from types import ModuleType

import torch

_CO3D = Path(__file__).resolve().parents[1]


@cache
def describe_installed() -> str:
    """The versions of Python, torch and all distributions, and a digest of co3d's own files."""
    digest = hashlib.sha256()
    for path in sorted(_CO3D.rglob("*.py")):
        digest.update(f"{path.relative_to(_CO3D)} {path.stat().st_size}\n".encode())
        digest.update(path.read_bytes())
    versions = [
        sys.version,
        platform.machine(),
        torch.__version__,
        str(torch.version.git_version),
        *sorted(info.name for folder in _site_folders() for info in _list_infos(folder)),
    ]
    return "\n".join([*versions, digest.hexdigest()])


def is_installed(module_name: str) -> bool:
    """Whether a module belongs to Python, to co3d or to an installed distribution.

    The module must be loaded. One that was copied into site-packages by hand belongs to none.
    """
    if module_name in ("__main__", "__mp_main__"):
        return False
    module = sys.modules.get(module_name)
    return module is not None and _is_installed(module_name, module)


def _is_installed(name: str, module: ModuleType) -> bool:
    top = name.partition(".")[0]
    file = _find_file(module)
    if file is None:
        # Built in, frozen, or created by an extension module when it was loaded.
        is_made = top in ("cython_runtime",) or top.startswith("_cython_")
        return is_made or top in sys.stdlib_module_names or top in _claimed_names()
    return _is_installed_file(top, file)


@cache
def _is_installed_file(top: str, file: Path) -> bool:
    if file.is_relative_to(_CO3D):
        return True
    for folder in _site_folders():
        if file.is_relative_to(folder):
            return top in _claimed_names()
    standard = (sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"))
    return top in sys.stdlib_module_names and any(
        file.is_relative_to(Path(folder).resolve()) for folder in standard
    )


def _find_file(module: ModuleType) -> Path | None:
    file = getattr(module, "__file__", None)
    return _resolve(file) if isinstance(file, str) else None


@cache
def _resolve(file: str) -> Path:
    return Path(file).resolve()


@cache
def _site_folders() -> tuple[Path, ...]:
    named = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    named.update([*site.getsitepackages(), site.getusersitepackages()])
    return tuple(sorted(Path(folder).resolve() for folder in named if Path(folder).is_dir()))


def _list_infos(folder: Path) -> list[Path]:
    """The metadata folders of distributions, whose names contain name and version."""
    return [*folder.glob("*.dist-info"), *folder.glob("*.egg-info")]


@cache
def _claimed_names() -> frozenset[str]:
    """The top-level module names that distributions list as their own."""
    names: set[str] = set()
    for folder in _site_folders():
        for info in _list_infos(folder):
            for listing in ("RECORD", "installed-files.txt", "top_level.txt"):
                file = info / listing
                if file.is_file():
                    lines = file.read_text("utf-8", "replace").splitlines()
                    names.update(line.split(",")[0].split("/")[0].split(".")[0] for line in lines)
    return frozenset(names - {""})
