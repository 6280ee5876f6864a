"""Wait for devices other than the CPU, whose calls return before their work is done."""

from collections.abc import Callable

import torch


def wait_after(call: Callable[[], object], device: torch.device) -> Callable[[], object]:
    """A call that returns once the device has the result; on the CPU the call itself."""
    if device.type == "cpu":
        return call

    def call_and_wait() -> None:
        call()
        torch.accelerator.synchronize(device)

    return call_and_wait
