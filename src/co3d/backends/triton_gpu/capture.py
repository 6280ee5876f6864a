"""Steps that a GPU runs as one launch: CUDA graphs."""

import threading
from collections.abc import Callable

import torch
from torch import Tensor

# Launches everything and gives the results, which the next run of it writes over.
Run = Callable[[], list[Tensor | None]]

# PyTorch captures one graph at a time in a process.
_CAPTURING = threading.Lock()


class Recorder:
    """Captures runs on one device; what they make on the way lies in memory that they share."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        if device.type == "cuda":
            self._memory = torch.cuda.graph_pool_handle()
            self._stream = torch.cuda.Stream(device)

    def record(self, run: Run) -> Run:
        """What repeats a run in one launch: on a GPU a CUDA graph, elsewhere the run itself.

        The run is done once: what chooses kernels, or fills caches, cannot be captured.
        """
        if self._device.type != "cuda":
            return run
        with _CAPTURING:
            run()
            graph = torch.cuda.CUDAGraph()
            # Threads that use other graphs may go on meanwhile.
            with torch.cuda.graph(
                graph, pool=self._memory, stream=self._stream, capture_error_mode="thread_local"
            ):
                results = run()

        def replay() -> list[Tensor | None]:
            graph.replay()
            return results

        return replay
