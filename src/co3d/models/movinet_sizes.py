"""The six sizes of MoViNet, found by architecture search (arXiv:2103.11511, appendix)."""

from dataclasses import dataclass

Kernel = tuple[int, int]
"""Depthwise kernel: frames, and pixels of the side."""

_T3: Kernel = (3, 3)
_T5: Kernel = (5, 3)
_S3: Kernel = (1, 3)
_S5: Kernel = (1, 5)


@dataclass(frozen=True)
class Stage:
    """Blocks of one size.

    Attributes:
        channels: out of each block.
        stride: of the first block, in space.
        widths: channels inside each block.
        kernels: depthwise kernel of each block.
    """

    channels: int
    stride: int
    widths: tuple[int, ...]
    kernels: tuple[Kernel, ...]


@dataclass(frozen=True)
class Size:
    """One MoViNet.

    Attributes:
        stem: channels of the stem.
        stages: from the clip to the head.
        last: channels that the head pools.
        clip_frames, rate_hz, crop_px: for training and evaluating the base network: ten seconds.
    """

    stem: int
    stages: tuple[Stage, ...]
    last: int
    clip_frames: int
    rate_hz: float
    crop_px: int


SIZES = {
    "a0": Size(
        stem=8,
        stages=(
            Stage(8, 2, (24,), (_S5,)),
            Stage(32, 2, 3 * (80,), 3 * (_T3,)),
            Stage(56, 2, (184, 112, 184), (_T5, _T3, _T3)),
            Stage(56, 1, 4 * (184,), (_T5, *3 * (_T3,))),
            Stage(104, 2, (384, 280, 280, 344), (_T5, *3 * (_S5,))),
        ),
        last=480,
        clip_frames=50,
        rate_hz=5,
        crop_px=172,
    ),
    "a1": Size(
        stem=16,
        stages=(
            Stage(16, 2, (40, 40), (_S5, _T3)),
            Stage(40, 2, (96, 120, 96, 96), 4 * (_T3,)),
            Stage(64, 2, (216, 128, 216, 168, 216), (_T5, *4 * (_T3,))),
            Stage(64, 1, (216, 216, 216, 128, 128, 216), (_T5, *3 * (_T3,), _S5, _T3)),
            Stage(136, 2, (456, 360, 360, 360, 456, 456, 544), (_T5, *4 * (_S5,), _T3, _S3)),
        ),
        last=600,
        clip_frames=50,
        rate_hz=5,
        crop_px=172,
    ),
    "a2": Size(
        stem=16,
        stages=(
            Stage(16, 2, (40, 40, 64), (_S5, _T3, _T3)),
            Stage(40, 2, (96, 120, 96, 96, 120), 5 * (_T3,)),
            Stage(72, 2, (240, 160, 240, 192, 240), (_T5, *4 * (_T3,))),
            Stage(72, 1, (240, 240, 240, 240, 144, 240), (_T5, *3 * (_T3,), _S5, _T3)),
            Stage(144, 2, (480, 384, 384, 480, 480, 480, 576), (_T5, *4 * (_S5,), _T3, _S3)),
        ),
        last=640,
        clip_frames=50,
        rate_hz=5,
        crop_px=224,
    ),
    "a3": Size(
        stem=16,
        stages=(
            Stage(16, 2, (40, 40, 64, 40), (_S5, *3 * (_T3,))),
            Stage(48, 2, (112, 144, 112, 112, 144, 144), (*3 * (_T3,), _S5, _T3, _T3)),
            Stage(80, 2, (240, 152, 240, 192, 240), (_T5, *4 * (_T3,))),
            Stage(
                88,
                1,
                (264, 264, 264, 264, 160, 264, 264, 264),
                (_T5, *3 * (_T3,), _S5, *3 * (_T3,)),
            ),
            Stage(
                168,
                2,
                (560, 448, 448, 560, 560, 560, 448, 448, 560, 672),
                (_T5, *4 * (_S5,), _T3, _S5, _S5, _T3, _S3),
            ),
        ),
        last=744,
        clip_frames=120,
        rate_hz=12,
        crop_px=256,
    ),
    "a4": Size(
        stem=24,
        stages=(
            Stage(24, 2, (64, 64, 96, 64, 96, 64), (_S5, *5 * (_T3,))),
            Stage(
                56,
                2,
                (168, 168, 136, 136, 168, 168, 168, 136, 136),
                (*7 * (_T3,), _S5, _T3),
            ),
            Stage(96, 2, (320, 160, 320, 192, 320, 160, 320, 256, 320), (_T5, *8 * (_T3,))),
            Stage(
                96,
                1,
                (320, 320, 320, 320, 192, 320, 320, 192, 320, 320),
                (_T5, *3 * (_T3,), _S5, *5 * (_T3,)),
            ),
            Stage(
                192,
                2,
                (640, 512, 512, 640, 640, 640, 512, 512, 640, 768, 640, 640, 768),
                (_T5, *4 * (_S5,), _T3, *5 * (_S5,), _T3, _T3),
            ),
        ),
        last=856,
        clip_frames=80,
        rate_hz=8,
        crop_px=290,
    ),
    "a5": Size(
        stem=24,
        stages=(
            Stage(24, 2, (64, 64, 96, 64, 96, 64), (_S5, _S5, *4 * (_T3,))),
            Stage(
                64,
                2,
                (192, 152, 152, 152, 192, 192, 192, 152, 152, 192, 192),
                (_T5, *10 * (_T3,)),
            ),
            Stage(
                112,
                2,
                (376, 224, 376, 376, 296, 376, 224, 376, 376, 296, 376, 376, 376),
                (_T5, *12 * (_T3,)),
            ),
            Stage(
                120,
                1,
                (376, 376, 376, 376, 224, 376, 376, 224, 376, 376, 376),
                (_T5, *3 * (_T3,), _S5, *6 * (_T3,)),
            ),
            Stage(
                224,
                2,
                (
                    *(744, 744, 600, 600, 744, 744, 744, 896, 600),
                    *(600, 896, 744, 744, 896, 600, 600, 744, 744),
                ),
                (
                    *(_T5, _T3, _S5, _S5, _S5, _S5, _T3, _S5, _S5),
                    *(_S5, _S5, _S5, _T3, _S5, _S5, _S5, _S5, _T3),
                ),
            ),
        ),
        last=992,
        clip_frames=120,
        rate_hz=12,
        crop_px=320,
    ),
}
