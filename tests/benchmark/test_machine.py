import torch

from co3d.benchmark.machine import describe_hardware


def test_hardware_names_the_device_unless_it_is_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"GPU number {device.index}")
    processor = describe_hardware(torch.device("cpu"))
    assert processor.endswith(" cores")
    assert describe_hardware() == processor
    assert describe_hardware(torch.device("cuda", 1)) == f"cuda:1 (GPU number 1), {processor}"
    assert describe_hardware(torch.device("mps")) == f"mps, {processor}"
