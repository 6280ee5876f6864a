"""The families of the zoo: what each is, the clips it takes, and what becomes of it on a stream."""

from collections.abc import Callable
from typing import Any

from torch import nn

from zoo import (
    attention,
    efficient_3d,
    heads,
    inception_3d,
    lips,
    movinet,
    pathways,
    pulse,
    recurrent,
    residual_3d,
    restoration,
    segments,
    segments_more,
    shots,
    volumes,
)
from zoo.family import NEWEST, PER_FRAME, Family

_SMALL, _LONG = (3, 8, 16, 16), (3, 16, 16, 16)


def _exact(
    name: str, paper: str, make: Callable[[], nn.Module], clip: tuple, **more: Any
) -> Family:
    return Family(name, paper, make, clip, "exact", **more)


def _approximated(
    name: str,
    paper: str,
    make: Callable[[], nn.Module],
    clip: tuple,
    *lines: str,
    **more: Any,
) -> Family:
    return Family(name, paper, make, clip, "approximated", approximations=lines, **more)


def _fallback(
    name: str,
    paper: str,
    make: Callable[[], nn.Module],
    clip: tuple,
    because: str,
    **more: Any,
) -> Family:
    return Family(name, paper, make, clip, "fallback", because=because, **more)


FAMILIES = (
    # Action recognition by 3D kernels.
    _exact("C3D", "1412.0767", inception_3d.C3D, (3, 16, 32, 32), stride=16),
    _exact("LTC", "1604.04494", inception_3d.LongTermConvolutions, (2, 16, 16, 16), stride=4),
    _exact(
        "I3D, logits in time",
        "1705.07750",
        inception_3d.I3D,
        (3, 16, 32, 32),
        time_axes=1,
        stride=4,
    ),
    _exact("I3D", "1705.07750", inception_3d.I3DMeanOfLogits, (3, 16, 32, 32), stride=4),
    _exact("S3D", "1712.04851", inception_3d.S3D, (3, 16, 16, 16), stride=4),
    _approximated("S3D-G", "1712.04851", inception_3d.s3d_g, (3, 16, 16, 16), PER_FRAME, stride=4),
    _exact("T3D", "1711.08200", inception_3d.T3D, _LONG, shorter=11, stride=2),
    _exact(
        "Early fusion", "Karpathy et al., CVPR 2014", lambda: inception_3d.EarlyFusion(8), _SMALL
    ),
    _exact("3D-ResNet", "1711.09577", residual_3d.resnet3d, _LONG, shorter=11, stride=4),
    _exact("3D-ResNet, shortcut A", "1711.09577", residual_3d.resnet3d_shortcut_a, _LONG, stride=4),
    _exact(
        "3D-ResNet, pre-activation",
        "1711.09577",
        residual_3d.preactivation_resnet3d,
        _LONG,
        stride=4,
    ),
    _exact("Wide 3D-ResNet", "1711.09577", residual_3d.wide_resnet3d, _LONG, stride=4),
    _exact("3D-ResNeXt", "1711.09577", residual_3d.resnext3d, _LONG, stride=4),
    _exact("3D-DenseNet", "1711.09577", residual_3d.densenet3d, _LONG, stride=4),
    _exact("R(2+1)D", "1711.11248", residual_3d.r2plus1d, _LONG, shorter=13, stride=4),
    _exact("MC3", "1711.11248", pathways.MC3, _SMALL, shorter=5),
    _exact("Res2Net3D", "1904.01169", residual_3d.res2net3d, _LONG, stride=4),
    _exact("P3D", "1711.10305", residual_3d.p3d, _LONG, stride=4),
    _exact("CoST", "1903.01197", residual_3d.cost, _LONG, stride=2),
    _exact("ARTNet", "1711.09125", residual_3d.artnet, _LONG, stride=4),
    _exact("MF-Net", "1807.11195", residual_3d.mfnet, _LONG, stride=4),
    _exact("ir-CSN", "1904.02811", lambda: pathways.CSN("ir"), _SMALL, shorter=5, stride=2),
    _exact("ip-CSN", "1904.02811", lambda: pathways.CSN("ip"), _SMALL, stride=2),
    _approximated("X3D", "2004.04730", pathways.X3D, _SMALL, PER_FRAME),
    _approximated(
        "SlowFast, frames by linspace",
        "1812.03982",
        lambda: pathways.SlowFast("linspace"),
        _LONG,
        "takes every 4th frame",
        stride=4,
    ),
    _exact(
        "SlowFast, frames by interpolate",
        "1812.03982",
        lambda: pathways.SlowFast("interpolate"),
        _LONG,
        stride=4,
    ),
    _exact(
        "SlowFast, frames by slices",
        "1812.03982",
        lambda: pathways.SlowFast("slice"),
        _LONG,
        stride=4,
    ),
    _exact("SlowOnly", "1812.03982", pathways.SlowOnly, _SMALL),
    _exact("C2D", "1711.07971", pathways.C2D, _LONG, stride=2),
    _exact("TPN", "2004.03548", pathways.TPN, _LONG, stride=8, native_only=True),
    _approximated("MoViNet, base", "2103.11511", lambda: movinet.MoViNet(False), _SMALL, PER_FRAME),
    _fallback(
        "MoViNet, stream form on clips",
        "2103.11511",
        lambda: movinet.MoViNet(True),
        _SMALL,
        because="one value per frame of the clip",
    ),
    _exact(
        "3D-ShuffleNet v1", "1904.02422", efficient_3d.shufflenet3d_v1, (3, 16, 32, 32), stride=8
    ),
    _exact("3D-ShuffleNet v2", "1904.02422", efficient_3d.shufflenet3d_v2, _LONG, stride=4),
    _exact("3D-MobileNet v1", "1904.02422", efficient_3d.mobilenet3d_v1, _LONG, stride=4),
    _exact("3D-MobileNet v2", "1904.02422", efficient_3d.mobilenet3d_v2, _LONG, stride=4),
    _exact("3D-SqueezeNet", "1904.02422", efficient_3d.squeezenet3d, _LONG, stride=4),
    _approximated(
        "3D-EfficientNet", "1905.11946", efficient_3d.efficientnet3d, _LONG, PER_FRAME, stride=2
    ),
    _exact("3D-GhostNet", "1911.11907", efficient_3d.ghostnet3d, _LONG, stride=2),
    _exact("ECO", "1804.09066", segments_more.eco, _SMALL, stride=2),
    # Frames as the batch of a 2D network.
    _exact("TSN", "1608.00859", segments.tsn, _SMALL),
    _exact("TSM", "1811.08383", segments.tsm_written, _SMALL),
    _exact("TSM, concatenated", "1811.08383", segments.tsm_concatenated, _SMALL),
    _exact("TSM, online", "1811.08383", segments.tsm_online, _SMALL),
    _exact("TEA", "2004.01398", segments.tea, _SMALL),
    _exact("TDN", "2012.10071", segments.tdn, (15, 8, 16, 16)),
    _exact("ACTION-Net", "2103.07372", segments.action_net, _SMALL),
    _fallback("TANet", "2005.06803", segments.tanet, _SMALL, because="the whole network"),
    _exact("STM", "1908.02486", segments_more.stm, _SMALL),
    _exact("TEINet", "1911.09435", segments_more.teinet, _SMALL),
    _exact("GST", "1908.10928", segments_more.gst, _SMALL),
    _exact("GSM", "1912.00381", segments_more.gsm, _SMALL),
    _fallback(
        "MSNet", "2007.09933", segments_more.msnet, _SMALL, because="concatenates along time"
    ),
    _exact("StNet", "1811.01549", segments_more.stnet, _LONG, stride=2),
    _exact("TRN", "1711.08496", segments_more.trn, _SMALL),
    _exact("TRN, multi-scale", "1711.08496", segments_more.multiscale_trn, _SMALL),
    # Attention.
    _fallback(
        "I3D, non-local", "1711.07971", attention.NonLocalI3D, _SMALL, because="the whole network"
    ),
    _fallback(
        "GCNet", "1904.11492", attention.GlobalContextR3D, _SMALL, because="folded into its axis"
    ),
    _fallback(
        "TimeSformer",
        "2102.05095",
        attention.TimeSformer,
        (3, 8, 8, 8),
        because="the whole network",
    ),
    _fallback(
        "ViViT",
        "2103.15691",
        attention.ViViT,
        (3, 8, 8, 8),
        because="one value per frame of the clip",
        stride=2,
    ),
    _fallback(
        "ViViT, factorised",
        "2103.15691",
        attention.ViViTFactorised,
        (3, 8, 8, 8),
        because="the whole network",
    ),
    _fallback(
        "Video Swin",
        "2106.13230",
        attention.VideoSwin,
        (3, 8, 16, 16),
        because="folded into time or into the batch",
        stride=4,
    ),
    _fallback("MViT", "2104.11227", attention.MViT, (3, 8, 16, 16), because="the whole network"),
    _fallback(
        "UniFormer",
        "2201.04676",
        attention.UniFormer,
        (3, 8, 8, 8),
        because="folded into its axis",
        stride=2,
    ),
    _exact(
        "UniFormer, local blocks", "2201.04676", attention.UniFormerLocal, (3, 8, 8, 8), stride=2
    ),
    _fallback(
        "Causal transformer",
        "1706.03762",
        attention.CausalTransformer,
        (3, 8, 8, 8),
        because="multiplies the frames",
        time_axes=0,
    ),
    # Lips.
    _fallback(
        "Lips, multi-scale TCN",
        "2001.08702",
        lips.MultiscaleTCN,
        (1, 8, 16, 16),
        because="other operators on other batches",
    ),
    _exact("Lips, causal TCN", "1803.01271", lips.CausalTCN, (1, 8, 16, 16), time_axes=0),
    _exact("Lips, TCN with weight norm", "1803.01271", lips.WeightNormTCN, (1, 8, 16, 16)),
    _exact(
        "Lips, GRU per frame",
        "2011.07557",
        lambda: lips.GRUReader(False, True),
        (1, 8, 16, 16),
        time_axes=0,
        shorter=5,
    ),
    _exact("Lips, GRU", "2011.07557", lambda: lips.GRUReader(False), (1, 8, 16, 16)),
    _fallback(
        "Lips, bidirectional GRU",
        "2011.07557",
        lambda: lips.GRUReader(True),
        (1, 8, 16, 16),
        because="backwards",
    ),
    _fallback(
        "LipNet",
        "1611.01599",
        lips.LipNet,
        (3, 8, 16, 16),
        because="the whole network",
        time_axes=0,
    ),
    _fallback(
        "LipNet, one direction",
        "1611.01599",
        lambda: lips.LipNet(False),
        (3, 8, 16, 16),
        time_axes=0,
        because="batch axis",
    ),
    # Pulse.
    _exact("PhysNet", "1905.02419", pulse.PhysNetWave, (3, 16, 16, 16), time_axes=0),
    _exact("DeepPhys", "1805.07888", pulse.DeepPhys, (6, 8, 8, 8), time_axes=0),
    _exact("TS-CAN", "2006.03790", pulse.ts_can, (6, 8, 8, 8), time_axes=0),
    _exact("EfficientPhys", "2110.04447", pulse.EfficientPhys, (3, 9, 8, 8), time_axes=0),
    _exact("PhysFormer, stem", "2111.12082", pulse.PhysFormerStem, (3, 16, 8, 8), time_axes=0),
    # Medicine, anomalies, saliency.
    _exact(
        "3D U-Net, transposed",
        "1606.06650",
        lambda: volumes.UNet3D("transposed"),
        (1, 8, 8, 8),
        time_axes=1,
    ),
    _exact(
        "3D U-Net, nearest",
        "1606.06650",
        lambda: volumes.UNet3D("nearest"),
        (1, 8, 8, 8),
        time_axes=1,
    ),
    _exact(
        "3D U-Net, trilinear",
        "1606.06650",
        lambda: volumes.UNet3D("trilinear"),
        (1, 8, 8, 8),
        time_axes=1,
    ),
    _exact("V-Net", "1606.04797", volumes.VNet, (1, 8, 8, 8), time_axes=1),
    _fallback(
        "V-Net, instance norm",
        "1606.04797",
        volumes.vnet_instance_norm,
        (1, 8, 8, 8),
        "norm",
        time_axes=1,
    ),
    _exact("EchoNet", "EchoNet-Dynamic, Nature 2020", volumes.EchoNet, _LONG, stride=2),
    _exact("3D autoencoder", "1604.04574", volumes.Autoencoder, (1, 8, 8, 8), time_axes=1),
    _exact("MemAE", "1904.02639", volumes.MemAE, (1, 8, 8, 8), time_axes=1),
    _exact(
        "Anomaly scores of C3D features",
        "1801.04264",
        volumes.AnomalyScores,
        _LONG,
        time_axes=0,
        stride=4,
    ),
    _exact("TASED-Net", "1908.05786", volumes.TASED, _SMALL, stride=8),
    _fallback(
        "ViNet",
        "2012.06170",
        volumes.ViNet,
        (3, 16, 16, 16),
        because="temporal strides",
        stride=4,
    ),
    _exact("UNISAL", "2003.05477", volumes.UNISAL, (3, 8, 8, 8), time_axes=0),
    # Shots.
    _exact("TransNet, cells", "1906.03363", shots.transnet_cells, (3, 16, 8, 8), time_axes=0),
    _fallback(
        "TransNet V2",
        "2008.04838",
        shots.TransNetV2,
        (3, 16, 8, 8),
        time_axes=0,
        because="aten.bmm",
    ),
    _fallback(
        "TransNet V2, histograms",
        "2008.04838",
        shots.transnet_histograms,
        (3, 8, 8, 8),
        time_axes=0,
        because="per row of the batch",
    ),
    _fallback(
        "AutoShot", "2304.06116", shots.AutoShot, (3, 8, 8, 8), because="batch axis", time_axes=0
    ),
    _exact(
        "Shots by similarity",
        "Gygli, CBMI 2018",
        shots.ShotByDifferences,
        (3, 9, 8, 8),
        time_axes=0,
    ),
    # Pictures out.
    _exact("FLAVR", "2012.08512", restoration.FLAVR, (3, 4, 8, 8)),
    _exact("FastDVDnet", "1907.01361", restoration.FastDVDnet, (3, 5, 8, 8)),
    _fallback("EDVR", "1905.02716", restoration.EDVR, (3, 5, 8, 8), because="the pool of a gate"),
    _exact(
        "BasicVSR, one direction", "2012.02181", restoration.RecurrentSR, (3, 8, 8, 8), time_axes=0
    ),
    _exact("BasicVSR", "2012.02181", restoration.bidirectional_sr, (3, 6, 8, 8)),
    _exact("DUF", "Jo et al., CVPR 2018", restoration.DynamicFilters, (3, 5, 8, 8)),
    _exact(
        "3D denoiser",
        "ViDeNN, 1904.10898",
        restoration.DeepVideoDenoiser,
        (3, 8, 8, 8),
        time_axes=1,
    ),
    # Recurrent and causal.
    _exact("ConvLSTM", "1506.04214", recurrent.ConvLSTM, (3, 8, 8, 8), time_axes=0),
    _exact("ConvLSTM, last state", "1506.04214", recurrent.convlstm_last, (3, 8, 8, 8)),
    _fallback(
        "CNN and LSTM in a loop",
        "1411.4389",
        recurrent.CNNLSTM,
        (3, 8, 8, 8),
        because="another axis than time",
    ),
    _exact("LRCN", "1411.4389", recurrent.LRCN, (3, 8, 8, 8)),
    _exact("CNN and GRU", "1511.06432", recurrent.CNNGRU, (3, 8, 8, 8), time_axes=0, shorter=5),
    _fallback(
        "TeCNO",
        "2003.10751",
        recurrent.PhasesOfSurgery,
        (3, 8, 8, 8),
        time_axes=2,
        because="batch axis",
    ),
    _exact("MS-TCN", "1903.01945", recurrent.MSTCN, (3, 8, 8, 8), time_axes=1, shorter=13),
    _fallback(
        "Causal video VAE",
        "2408.06072",
        recurrent.CausalVAE,
        (3, 9, 8, 8),
        time_axes=1,
        because="repeats the frames",
    ),
    _exact(
        "WaveNet over frames",
        "1609.03499",
        recurrent.WaveNet,
        (3, 8, 8, 8),
        time_axes=1,
        shorter=13,
    ),
    _fallback(
        "Running mean",
        "1611.08240",
        recurrent.Cumulative,
        (3, 8, 8, 8),
        time_axes=0,
        because="one value per frame of the clip",
    ),
    # Detection, poses, signs, several inputs and outputs.
    _exact("YOWO", "1911.06644", heads.YOWO, (3, 8, 16, 16), stride=8),
    _exact("AVA head, pooled", "1705.08421", lambda: heads.ActionDetection("pool"), (3, 8, 8, 8)),
    _exact(
        "AVA head, middle frame",
        "1705.08421",
        lambda: heads.ActionDetection("middle"),
        (3, 8, 8, 8),
    ),
    _exact(
        "AVA head, last frame", "1705.08421", lambda: heads.ActionDetection("last"), (3, 8, 8, 8)
    ),
    _exact("SSD on clips", "1512.02325", heads.SSD, (3, 8, 8, 8)),
    _fallback(
        "MOC tubelets", "2001.04608", heads.Tubelets, (3, 4, 8, 8), because="folded into axis 1"
    ),
    _exact("Two-stream", "1406.2199", heads.TwoStream, ((3, 8, 16, 16), (2, 8, 16, 16)), stride=2),
    _exact("Stacked flow", "1406.2199", heads.FlowFirst, (2, 8, 8, 8)),
    _exact(
        "Audio-visual",
        "2107.06592",
        heads.AudioVisual,
        ((3, 8, 8, 8), (1, 8, 8, 1)),
        time_axes=(0, 0),
    ),
    _exact("PoseConv3D", "2104.13586", heads.PoseConv3D, (17, 8, 8, 8)),
    _exact("ST-GCN", "1801.07455", heads.SkeletonGraph, (3, 16, 8, 2), stride=16),
    _exact(
        "Sign language, TCN",
        "2104.02330",
        lambda: heads.SignLanguage(False),
        (3, 24, 8, 8),
        time_axes=0,
        stride=4,
    ),
    _fallback(
        "Sign language, BiLSTM",
        "2104.02330",
        lambda: heads.SignLanguage(True),
        (3, 24, 8, 8),
        because="batch axis",
        time_axes=0,
        stride=4,
    ),
    _exact(
        "Sign language, I3D and TCN",
        "2010.02197",
        heads.SignI3D,
        (3, 16, 32, 32),
        time_axes=1,
        stride=4,
    ),
    _exact("Egocentric, two tasks", "1907.11236", heads.EgocentricTwoTasks, (3, 8, 8, 8)),
    _approximated(
        "Background subtraction", "1604.02808", heads.BackgroundSubtraction, (3, 8, 8, 8), NEWEST
    ),
    _fallback("R3D with group norm", "1803.08494", heads.GroupNormR3D, (3, 8, 8, 8), "norm"),
)
