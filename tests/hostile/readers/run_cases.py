"""Run seeded cases of a target: what is neither read nor refused by a typed error is a failure.

    python -m hostile.readers.run_cases TARGET FIRST LAST     these seeds
    python -m hostile.readers.run_cases TARGET --minutes 1    seeds from the clock on

Of each seed that fails a line says why. A crash, a hang of over twenty seconds or gigabytes of
memory end the process; its last line then names the seed.
"""

import faulthandler
import resource
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random

from co3d.errors import Co3dError, InternalError
from hostile.readers.targets import TARGETS

SECONDS, BYTES = 20, 1 << 30


def run_case(name: str, seed: int, folder: Path) -> str | None:
    """Mutate a file of a target by a seed and read it; what went wrong, or None."""
    target, random = TARGETS[name], Random(seed)
    path, content = target.draw(folder, random)
    path.write_bytes(content)
    try:
        target.read(path)
    except Co3dError as error:
        if type(error) in (Co3dError, InternalError):
            return f"{type(error).__name__}: {str(error)[:300]}"
        if len(str(error)) > 20_000:
            return f"a message of {len(str(error))} letters: {str(error)[:300]}"
    except Exception:  # noqa: BLE001 - what is looked for
        return traceback.format_exc(limit=-4)
    finally:
        path.unlink(missing_ok=True)
    return None


def run_guarded(name: str, seeds: Iterable[int], folder: Path) -> Iterator[tuple[int, str]]:
    """The seeds that fail, and why, in a process that may take a gigabyte more than it has."""
    faulthandler.enable()
    for seed in seeds:
        before = _read_resident()
        print(f"{name} {seed}", flush=True)
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reason = run_case(name, seed, folder)
        faulthandler.cancel_dump_traceback_later()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        if peak - before > BYTES and reason is None:
            reason = f"{(peak - before) >> 20} MB more"
        if reason:
            yield seed, reason


def _read_resident() -> int:
    pages = Path("/proc/self/statm").read_text().split()
    return int(pages[1]) * resource.getpagesize()


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    # Threads and libraries that are loaded late reserve addresses that they never use.
    most = pages * resource.getpagesize() + 3 * BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def main(arguments: list[str]) -> int:
    """See the module."""
    name, *rest = arguments
    failures = 0
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        TARGETS[name].prepare(folder)
        run_case(name, 0, folder)  # libraries are loaded
        _limit_memory()
        for seed, reason in run_guarded(name, _list_seeds(*rest), folder):
            failures += 1
            print(f"FAILED {name} {seed}: {reason}", flush=True)
    return min(failures, 1)


def _list_seeds(first: str, last: str) -> Iterator[int]:
    if first != "--minutes":
        yield from range(int(first), int(last))
        return
    end, seed = time.monotonic() + 60 * float(last), time.time_ns()
    while time.monotonic() < end:
        yield seed
        seed += 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
