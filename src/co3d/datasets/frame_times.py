"""What the times of a video's frames say: its rate and its duration.

Without torch, which the processes that examine videos need not import.
"""

import numpy as np


def measure_duration(times_seconds: np.ndarray) -> float:
    """Seconds for which frames are shown; the last one counts as long as the mean interval."""
    if len(times_seconds) < 2:
        return 0.0
    gap = float(np.median(np.diff(times_seconds)))
    return float(times_seconds[-1] - times_seconds[0]) + gap


def estimate_rate(times_seconds: np.ndarray) -> float:
    """Mean frames per second; 30 if there is only a single frame."""
    span = float(times_seconds[-1] - times_seconds[0])
    return (len(times_seconds) - 1) / span if span > 0 else 30.0
