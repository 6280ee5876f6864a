"""Build the wheels into dist/: a pure one, and for Linux on x86-64 one with the kernels compiled.

The binary wheel holds a library for each kind of processor (`VARIANTS` in
src/co3d/backends/native/prebuilt.py), of which the best that runs is loaded. OpenMP is that of
PyTorch, which every process that steps has loaded. The wheel is named after the oldest C library
that its kernels run with, which is that of the machine it is built on or an older one. Both hold
the documentation that `make docs` has built, which `co3d docs` opens.
"""

import argparse
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from co3d.backends.native.library import compile_kernels, find_compiler
from co3d.backends.native.prebuilt import VARIANTS, Variant, write_manifest

ROOT = Path(__file__).parents[1]
NEEDED = ("pyproject.toml", "README.md", "LICENSE")
NOT_FOR_READERS = shutil.ignore_patterns(".doctrees", ".buildinfo", "objects.inv")
# The C++ library of this machine is newer than that of others: what is used of it goes along.
STATIC = ("-static-libstdc++", "-ffunction-sections", "-Wl,--gc-sections,--exclude-libs,ALL", "-s")


def build_wheels(output: Path, *, is_pure: bool = True) -> None:
    """Build the wheels from a copy of the working tree.

    Args:
        output: folder of the wheels.
        is_pure: build the pure one as well.
    """
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "co3d"
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "prebuilt")
        shutil.copytree(ROOT / "src", tree / "src", ignore=ignored)
        for name in NEEDED:
            shutil.copy(ROOT / name, tree / name)
        if (ROOT / "dist" / "docs").is_dir():
            shutil.copytree(ROOT / "dist" / "docs", tree / "src/co3d/site", ignore=NOT_FOR_READERS)
        else:
            print("the wheels have no documentation: run `make docs` first")
        if is_pure:
            _build(tree, output)
        compiler = find_compiler()
        if (sys.platform, platform.machine()) != ("linux", "x86_64") or compiler is None:
            print("no binary wheel: it is built on Linux, x86-64, with a C++ compiler")
            return
        libraries = tree / "src/co3d/backends/native/prebuilt"
        libraries.mkdir()

        def compile_variant(variant: Variant) -> None:
            path = libraries / f"{variant.name}.so"
            compile_kernels(compiler, path, (*variant.options, *STATIC))
            print(f"compiled {path.name}: {path.stat().st_size / 1e6:.1f} MB", flush=True)

        with ThreadPoolExecutor() as pool:
            list(pool.map(compile_variant, VARIANTS))
        write_manifest(libraries)
        minor = max(map(find_glibc_minor, libraries.glob("*.so")))
        _build(tree, output, f"manylinux_2_{minor}_x86_64")


def find_glibc_minor(library: Path) -> int:
    """n of the oldest glibc 2.n that has every symbol that a library asks for."""
    command = ["objdump", "-T", str(library)]
    symbols = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return max(int(minor) for minor in re.findall(r"GLIBC_2\.(\d+)", symbols))


def _build(tree: Path, output: Path, platform_tag: str | None = None) -> None:
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    command = [*pip, "-w", str(output)]
    if platform_tag is not None:
        command += ["--config-settings", f"--build-option=--plat-name={platform_tag}"]
    subprocess.run([*command, str(tree)], check=True)
    shutil.rmtree(tree / "build", ignore_errors=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=ROOT / "dist")
    build_wheels(parser.parse_args().output)
