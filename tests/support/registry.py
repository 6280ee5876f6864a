"""The registered networks, as parameters of tests."""

from co3d.models import ModelCard, list_models
from support.slow import slow_but

# Twins of networks that are stepped: a step of each would take minutes more, and prove no more.
DEEP_TWINS = {
    *("c2d_r50", "mc3_18", "ir_csn_152", "ip_csn_152", "tsm_mobilenet_v2"),
    *("movinet_a1", "movinet_a2", "movinet_a3", "movinet_a4", "movinet_a5"),
    *("movinet_a1_stream", "movinet_a2_stream"),
    *("slowfast_r50_4x16_mmaction", "slowfast_r50_8x8_mmaction"),
    "slowfast_r50_8x8_steplr_mmaction",
    *("slowfast_r101_8x8_mmaction", "slowfast_r101_r50_4x16_mmaction"),
    *("r2plus1d_r34_8x8", "r2plus1d_r34_32x2", "r2plus1d_r50"),
}
# The longer, deeper or plainer twins of networks that the quick tests have.
TWINS = DEEP_TWINS | {
    *("x3d_s", "x3d_m", "x3d_l", "slowfast_r50_4x16", "slow_r50", "i3d_r50_32x2"),
}
# Every one, once: twins in the slow tests.
MODELS = slow_but(list_models(), *(name for name in list_models() if name not in TWINS))
STEPPED = [name for name in list_models() if name not in DEEP_TWINS]

LONGEST = 32


def short_clip_frames(card: ModelCard) -> int:
    """Frames of a clip that shows all that a network does along time, and takes little time."""
    return min(card.clip_frames, LONGEST)
