"""Families that label what people do: by kernels in time, by frames as a batch, by attention."""

from zoo import (
    attention,
    efficient_3d,
    inception_3d,
    movinet,
    pathways,
    residual_3d,
    segments,
    segments_more,
)
from zoo.family import ATTENDS, PER_FRAME, approximated, exact, fallback

_SMALL = (3, 8, 16, 16)
_LONG = (3, 16, 16, 16)

ACTION = (
    # Action recognition by 3D kernels.
    exact("C3D", "1412.0767", inception_3d.C3D, (3, 16, 32, 32), stride=16),
    exact("LTC", "1604.04494", inception_3d.LongTermConvolutions, (2, 16, 16, 16), stride=4),
    exact(
        "I3D, logits in time",
        "1705.07750",
        inception_3d.I3D,
        (3, 16, 32, 32),
        time_axes=1,
        stride=4,
    ),
    exact("I3D", "1705.07750", inception_3d.I3DMeanOfLogits, (3, 16, 32, 32), stride=4),
    exact("S3D", "1712.04851", inception_3d.S3D, (3, 16, 16, 16), stride=4),
    approximated("S3D-G", "1712.04851", inception_3d.s3d_g, (3, 16, 16, 16), PER_FRAME, stride=4),
    exact("T3D", "1711.08200", inception_3d.T3D, _LONG, shorter=11, stride=2),
    exact(
        "Early fusion", "Karpathy et al., CVPR 2014", lambda: inception_3d.EarlyFusion(8), _SMALL
    ),
    exact("3D-ResNet", "1711.09577", residual_3d.resnet3d, _LONG, shorter=11, stride=4),
    exact("3D-ResNet, shortcut A", "1711.09577", residual_3d.resnet3d_shortcut_a, _LONG, stride=4),
    exact(
        "3D-ResNet, pre-activation",
        "1711.09577",
        residual_3d.preactivation_resnet3d,
        _LONG,
        stride=4,
    ),
    exact("Wide 3D-ResNet", "1711.09577", residual_3d.wide_resnet3d, _LONG, stride=4),
    exact("3D-ResNeXt", "1711.09577", residual_3d.resnext3d, _LONG, stride=4),
    exact("3D-DenseNet", "1711.09577", residual_3d.densenet3d, _LONG, stride=4),
    exact("R(2+1)D", "1711.11248", residual_3d.r2plus1d, _LONG, shorter=13, stride=4),
    exact("MC3", "1711.11248", pathways.MC3, _SMALL, shorter=5),
    exact("Res2Net3D", "1904.01169", residual_3d.res2net3d, _LONG, stride=4),
    exact("P3D", "1711.10305", residual_3d.p3d, _LONG, stride=4),
    exact("CoST", "1903.01197", residual_3d.cost, _LONG, stride=2),
    exact("ARTNet", "1711.09125", residual_3d.artnet, _LONG, stride=4),
    exact("MF-Net", "1807.11195", residual_3d.mfnet, _LONG, stride=4),
    exact("ir-CSN", "1904.02811", lambda: pathways.CSN("ir"), _SMALL, shorter=5, stride=2),
    exact("ip-CSN", "1904.02811", lambda: pathways.CSN("ip"), _SMALL, stride=2),
    approximated("X3D", "2004.04730", pathways.X3D, _SMALL, PER_FRAME),
    approximated(
        "SlowFast, frames by linspace",
        "1812.03982",
        lambda: pathways.SlowFast("linspace"),
        _LONG,
        "takes every 4th frame",
        stride=4,
    ),
    approximated(
        "SlowFast, frames by interpolate",
        "1812.03982",
        lambda: pathways.SlowFast("interpolate"),
        _LONG,
        "instead of these of a clip",
        stride=4,
    ),
    exact(
        "SlowFast, frames by slices",
        "1812.03982",
        lambda: pathways.SlowFast("slice"),
        _LONG,
        stride=4,
    ),
    exact("SlowOnly", "1812.03982", pathways.SlowOnly, _SMALL),
    exact("C2D", "1711.07971", pathways.C2D, _LONG, stride=2),
    exact("TPN", "2004.03548", pathways.TPN, _LONG, stride=8, native_only=True),
    approximated("MoViNet, base", "2103.11511", lambda: movinet.MoViNet(False), _SMALL, PER_FRAME),
    fallback(
        "MoViNet, stream form on clips",
        "2103.11511",
        lambda: movinet.MoViNet(True),
        _SMALL,
        because="one value per frame of the clip",
    ),
    exact(
        "3D-ShuffleNet v1", "1904.02422", efficient_3d.shufflenet3d_v1, (3, 16, 32, 32), stride=8
    ),
    exact("3D-ShuffleNet v2", "1904.02422", efficient_3d.shufflenet3d_v2, _LONG, stride=4),
    exact("3D-MobileNet v1", "1904.02422", efficient_3d.mobilenet3d_v1, _LONG, stride=4),
    exact("3D-MobileNet v2", "1904.02422", efficient_3d.mobilenet3d_v2, _LONG, stride=4),
    exact("3D-SqueezeNet", "1904.02422", efficient_3d.squeezenet3d, _LONG, stride=4),
    approximated(
        "3D-EfficientNet", "1905.11946", efficient_3d.efficientnet3d, _LONG, PER_FRAME, stride=2
    ),
    exact("3D-GhostNet", "1911.11907", efficient_3d.ghostnet3d, _LONG, stride=2),
    exact("ECO", "1804.09066", segments_more.eco, _SMALL, stride=2),
    # Frames as the batch of a 2D network.
    exact("TSN", "1608.00859", segments.tsn, _SMALL),
    exact("TSM", "1811.08383", segments.tsm_written, _SMALL),
    exact("TSM, concatenated", "1811.08383", segments.tsm_concatenated, _SMALL),
    exact("TSM, online", "1811.08383", segments.tsm_online, _SMALL),
    exact("TEA", "2004.01398", segments.tea, _SMALL),
    exact("TDN", "2012.10071", segments.tdn, (15, 8, 16, 16)),
    exact("ACTION-Net", "2103.07372", segments.action_net, _SMALL),
    fallback("TANet", "2005.06803", segments.tanet, _SMALL, because="adaptive_avg_pool2d"),
    exact("STM", "1908.02486", segments_more.stm, _SMALL),
    exact("TEINet", "1911.09435", segments_more.teinet, _SMALL),
    exact("GST", "1908.10928", segments_more.gst, _SMALL),
    exact("GSM", "1912.00381", segments_more.gsm, _SMALL),
    fallback("MSNet", "2007.09933", segments_more.msnet, _SMALL, because="along time"),
    exact("StNet", "1811.01549", segments_more.stnet, _LONG, stride=2),
    exact("TRN", "1711.08496", segments_more.trn, _SMALL),
    exact("TRN, multi-scale", "1711.08496", segments_more.multiscale_trn, _SMALL),
    # Attention.
    fallback(
        "I3D, non-local",
        "1711.07971",
        attention.NonLocalI3D,
        _SMALL,
        because="multiplies the frames",
        windowed=ATTENDS,
    ),
    fallback(
        "GCNet", "1904.11492", attention.GlobalContextR3D, _SMALL, because="folded into its axis"
    ),
    fallback(
        "TimeSformer",
        "2102.05095",
        attention.TimeSformer,
        (3, 8, 8, 8),
        because="the whole network",
    ),
    fallback(
        "ViViT",
        "2103.15691",
        attention.ViViT,
        (3, 8, 8, 8),
        because="one value per frame of the clip",
        stride=2,
    ),
    fallback(
        "ViViT, factorised",
        "2103.15691",
        attention.ViViTFactorised,
        (3, 8, 8, 8),
        because="concatenates a constant",
    ),
    fallback(
        "Video Swin",
        "2106.13230",
        attention.VideoSwin,
        (3, 8, 16, 16),
        because="elements of time",
        stride=4,
    ),
    fallback(
        "MViT",
        "2104.11227",
        attention.MViT,
        (3, 8, 16, 16),
        because="what is folded into its axis",
        stride=2,
    ),
    fallback(
        "UniFormer",
        "2201.04676",
        attention.UniFormer,
        (3, 8, 8, 8),
        because="multiplies the frames",
        windowed=ATTENDS,
        stride=2,
    ),
    exact(
        "UniFormer, local blocks", "2201.04676", attention.UniFormerLocal, (3, 8, 8, 8), stride=2
    ),
    fallback(
        "Causal transformer",
        "1706.03762",
        attention.CausalTransformer,
        (3, 8, 8, 8),
        because="multiplies the frames",
        windowed=ATTENDS,
        time_axes=0,
    ),
)
