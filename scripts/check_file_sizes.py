"""Fail when a Python file has more than 400 lines: one job per file."""

import subprocess
import sys
from pathlib import Path

LIMIT_LINES = 400

files = subprocess.run(
    ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"],
    check=True,
    capture_output=True,
    text=True,
).stdout.split("\n")
lengths = {name: len(Path(name).read_text().splitlines()) for name in files if name}
long = {name: length for name, length in lengths.items() if length > LIMIT_LINES}
for name, length in long.items():
    print(f"{name}: {length} lines, at most {LIMIT_LINES}: split it by job")
sys.exit(bool(long))
