"""`make fuzz MINUTES=…`: new mutations for every reader, so many minutes each.

A seed that fails is shown with its target; `python -m hostile.readers.run_cases TARGET SEED SEED+1`
runs it again.
"""

import subprocess
import sys

from hostile.readers.targets import TARGETS

_SHOWN = 4000


def main(minutes: str, *names: str) -> int:
    """Run the targets, all or those named, one after another; 1 where one failed."""
    failed = 0
    for name in names or TARGETS:
        command = [sys.executable, "-m", "hostile.readers.run_cases", name, "--minutes", minutes]
        ended = subprocess.run(command, capture_output=True, text=True)
        lines = ended.stdout.splitlines()
        cases = sum(line.startswith(f"{name} ") for line in lines)
        print(f"{name}: {cases} cases, {'failed' if ended.returncode else 'all well'}", flush=True)
        if ended.returncode:
            failed = 1
            said = [line for line in lines if not line.startswith(f"{name} ")]
            print("\n".join(said)[:_SHOWN], lines[-1], ended.stderr[-_SHOWN:], sep="\n")
    return failed


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
