"""Where a step's time goes on the triton backend, kernel by kernel; needs an NVIDIA GPU.

Example:
    python scripts/profile_triton.py x3d_m --precision bfloat16 --batch 64
"""

import argparse

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

import co3d

SETTLING_STEPS, STEPS = 20, 10


def main() -> None:
    """Print the kernels of a step: launches and microseconds, the longest first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="a registered network")
    parser.add_argument("--precision", default="bfloat16")
    parser.add_argument("--batch", type=int, default=1)
    options = parser.parse_args()
    model = co3d.create_model(options.model, weights="random")
    program = co3d.convert(model, model.card.clip_shape)
    stream = co3d.open_stream(
        program,
        backend="triton",
        precision=options.precision,
        device="cuda",
        slots=options.batch,
    )
    frame = torch.randn(options.batch, *program.frame_shape, device="cuda")
    for _ in range(program.masked_steps + SETTLING_STEPS):
        stream.step(frame)
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        for _ in range(STEPS):
            stream.step(frame)
        torch.cuda.synchronize()
    kernels = [one for one in profiler.key_averages() if one.device_type == DeviceType.CUDA]
    kernels.sort(key=lambda one: one.self_device_time_total, reverse=True)
    print(f"{options.model}, {stream.backend}, batch {options.batch}")
    print("launches     µs  kernel")
    for one in kernels:
        us = one.self_device_time_total / STEPS
        print(f"{one.count / STEPS:8.1f} {us:6.1f}  {one.key[:70]}")
    print(f"         {sum(one.self_device_time_total for one in kernels) / STEPS:6.1f}  in all")


if __name__ == "__main__":
    main()
