"""Frames a second of a video in this process and in a sandbox's, interleaved: FILE [ROUNDS]."""

import sys
import time
from statistics import median

import co3d


def play(path: str) -> float:
    """Frames a second, from the second frame on."""
    with co3d.read_video(path) as reader:
        next(reader)
        began = time.perf_counter()
        return sum(1 for _ in reader) / (time.perf_counter() - began)


def main() -> None:
    """Print medians of a process's own rate, and of the first and second video of a sandbox's."""
    path, rounds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 7
    triples = []
    for _ in range(rounds):
        here = play(path)
        with co3d.read_in_sandbox():
            triples.append((here, play(path), play(path)))
    here, first, second = (median(rates) for rates in zip(*triples, strict=True))
    print(
        f"{path}: {here:.0f} frames/s here; in a sandbox {first:.0f} of its process's first video, "
        f"{second:.0f} of the second; ratios {median(b / a for a, b, _ in triples):.2f} and "
        f"{median(c / a for a, _, c in triples):.2f}"
    )


if __name__ == "__main__":
    main()
