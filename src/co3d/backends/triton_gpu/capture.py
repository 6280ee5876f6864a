"""Captures steps as CUDA graphs, which a GPU runs with one launch."""

import threading
from collections.abc import Callable

import torch
from torch import Tensor

# Launches a step's kernels and returns the results, which the next call overwrites.
Run = Callable[[], list[Tensor | None]]

# PyTorch can capture only one graph at a time in a process.
_CAPTURING = threading.Lock()


class Recorder:
    """Captures CUDA graphs on one device; they share one memory pool for intermediate results."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        if device.type == "cuda":
            self._memory = torch.cuda.graph_pool_handle()
            self._stream = torch.cuda.Stream(device)

    def record(self, run: Run) -> Run:
        """Capture a run as a CUDA graph, and return its replay; without a GPU, the run itself.

        The run is called once before, because choosing kernels and filling caches cannot be
        captured.
        """
        if self._device.type != "cuda":
            return run
        with _CAPTURING:
            run()
            graph = torch.cuda.CUDAGraph()
            # "thread_local" lets other threads use the GPU during the capture.
            with torch.cuda.graph(
                graph, pool=self._memory, stream=self._stream, capture_error_mode="thread_local"
            ):
                results = run()

        def replay() -> list[Tensor | None]:
            graph.replay()
            return results

        return replay
