"""Devices other than the processor: calls return before these have done their work."""

from collections.abc import Callable

import torch


def wait_after(call: Callable[[], object], device: torch.device) -> Callable[[], object]:
    """A call that ends when the device has the result; on the CPU the call itself."""
    if device.type == "cpu":
        return call

    def call_and_wait() -> None:
        call()
        torch.accelerator.synchronize(device)

    return call_and_wait
