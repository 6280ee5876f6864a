"""Families for all else: lips, pulse, medicine, shots, pictures, detection."""

from zoo import (
    heads,
    lips,
    pulse,
    recurrent,
    restoration,
    shots,
    volumes,
)
from zoo.family import NEWEST, approximated, exact, fallback

_SMALL = (3, 8, 16, 16)
_LONG = (3, 16, 16, 16)

FURTHER = (
    # Lips.
    fallback(
        "Lips, multi-scale TCN",
        "2001.08702",
        lips.MultiscaleTCN,
        (1, 8, 16, 16),
        because="other operators on other batches",
    ),
    exact("Lips, causal TCN", "1803.01271", lips.CausalTCN, (1, 8, 16, 16), time_axes=0),
    exact("Lips, TCN with weight norm", "1803.01271", lips.WeightNormTCN, (1, 8, 16, 16)),
    exact(
        "Lips, GRU per frame",
        "2011.07557",
        lambda: lips.GRUReader(False, True),
        (1, 8, 16, 16),
        time_axes=0,
        shorter=5,
    ),
    exact("Lips, GRU", "2011.07557", lambda: lips.GRUReader(False), (1, 8, 16, 16)),
    fallback(
        "Lips, bidirectional GRU",
        "2011.07557",
        lambda: lips.GRUReader(True),
        (1, 8, 16, 16),
        because="backwards",
    ),
    fallback(
        "LipNet",
        "1611.01599",
        lips.LipNet,
        (3, 8, 16, 16),
        because="batch axis",
        time_axes=0,
    ),
    fallback(
        "LipNet, one direction",
        "1611.01599",
        lambda: lips.LipNet(False),
        (3, 8, 16, 16),
        time_axes=0,
        because="batch axis",
    ),
    # Pulse.
    exact("PhysNet", "1905.02419", pulse.PhysNetWave, (3, 16, 16, 16), time_axes=0),
    exact("DeepPhys", "1805.07888", pulse.DeepPhys, (6, 8, 8, 8), time_axes=0),
    exact("TS-CAN", "2006.03790", pulse.ts_can, (6, 8, 8, 8), time_axes=0),
    exact("EfficientPhys", "2110.04447", pulse.EfficientPhys, (3, 9, 8, 8), time_axes=0),
    exact("PhysFormer, stem", "2111.12082", pulse.PhysFormerStem, (3, 16, 8, 8), time_axes=0),
    # Medicine, anomalies, saliency.
    exact(
        "3D U-Net, transposed",
        "1606.06650",
        lambda: volumes.UNet3D("transposed"),
        (1, 8, 8, 8),
        time_axes=1,
    ),
    exact(
        "3D U-Net, nearest",
        "1606.06650",
        lambda: volumes.UNet3D("nearest"),
        (1, 8, 8, 8),
        time_axes=1,
    ),
    exact(
        "3D U-Net, trilinear",
        "1606.06650",
        lambda: volumes.UNet3D("trilinear"),
        (1, 8, 8, 8),
        time_axes=1,
    ),
    exact("V-Net", "1606.04797", volumes.VNet, (1, 8, 8, 8), time_axes=1),
    fallback(
        "V-Net, instance norm",
        "1606.04797",
        volumes.vnet_instance_norm,
        (1, 8, 8, 8),
        "norm",
        time_axes=1,
    ),
    exact("EchoNet", "EchoNet-Dynamic, Nature 2020", volumes.EchoNet, _LONG, stride=2),
    exact("3D autoencoder", "1604.04574", volumes.Autoencoder, (1, 8, 8, 8), time_axes=1),
    exact("MemAE", "1904.02639", volumes.MemAE, (1, 8, 8, 8), time_axes=1),
    exact(
        "Anomaly scores of C3D features",
        "1801.04264",
        volumes.AnomalyScores,
        _LONG,
        time_axes=0,
        stride=4,
    ),
    exact("TASED-Net", "1908.05786", volumes.TASED, _SMALL, stride=8),
    fallback(
        "ViNet",
        "2012.06170",
        volumes.ViNet,
        (3, 16, 16, 16),
        because="elements of time",
        stride=4,
    ),
    exact("UNISAL", "2003.05477", volumes.UNISAL, (3, 8, 8, 8), time_axes=0),
    # Shots.
    exact("TransNet, cells", "1906.03363", shots.transnet_cells, (3, 16, 8, 8), time_axes=0),
    fallback(
        "TransNet V2",
        "2008.04838",
        shots.TransNetV2,
        (3, 16, 8, 8),
        time_axes=0,
        because="aten.bmm",
    ),
    fallback(
        "TransNet V2, histograms",
        "2008.04838",
        shots.transnet_histograms,
        (3, 8, 8, 8),
        time_axes=0,
        because="per row of the batch",
    ),
    fallback(
        "AutoShot", "2304.06116", shots.AutoShot, (3, 8, 8, 8), because="batch axis", time_axes=0
    ),
    exact(
        "Shots by similarity",
        "Gygli, CBMI 2018",
        shots.ShotByDifferences,
        (3, 9, 8, 8),
        time_axes=0,
    ),
    # Pictures out.
    exact("FLAVR", "2012.08512", restoration.FLAVR, (3, 4, 8, 8)),
    exact("FastDVDnet", "1907.01361", restoration.FastDVDnet, (3, 5, 8, 8)),
    fallback("EDVR", "1905.02716", restoration.EDVR, (3, 5, 8, 8), because="the pool of a gate"),
    exact(
        "BasicVSR, one direction", "2012.02181", restoration.RecurrentSR, (3, 8, 8, 8), time_axes=0
    ),
    exact("BasicVSR", "2012.02181", restoration.bidirectional_sr, (3, 6, 8, 8)),
    exact("DUF", "Jo et al., CVPR 2018", restoration.DynamicFilters, (3, 5, 8, 8)),
    exact(
        "3D denoiser",
        "ViDeNN, 1904.10898",
        restoration.DeepVideoDenoiser,
        (3, 8, 8, 8),
        time_axes=1,
    ),
    # Recurrent and causal.
    exact("ConvLSTM", "1506.04214", recurrent.ConvLSTM, (3, 8, 8, 8), time_axes=0),
    exact("ConvLSTM, last state", "1506.04214", recurrent.convlstm_last, (3, 8, 8, 8)),
    fallback(
        "CNN and LSTM in a loop",
        "1411.4389",
        recurrent.CNNLSTM,
        (3, 8, 8, 8),
        because="another axis than time",
    ),
    exact("LRCN", "1411.4389", recurrent.LRCN, (3, 8, 8, 8)),
    exact("CNN and GRU", "1511.06432", recurrent.CNNGRU, (3, 8, 8, 8), time_axes=0, shorter=5),
    fallback(
        "TeCNO",
        "2003.10751",
        recurrent.PhasesOfSurgery,
        (3, 8, 8, 8),
        time_axes=2,
        because="batch axis",
    ),
    exact("MS-TCN", "1903.01945", recurrent.MSTCN, (3, 8, 8, 8), time_axes=1, shorter=13),
    fallback(
        "Causal video VAE",
        "2408.06072",
        recurrent.CausalVAE,
        (3, 9, 8, 8),
        time_axes=1,
        because="repeats the frames",
    ),
    exact(
        "WaveNet over frames",
        "1609.03499",
        recurrent.WaveNet,
        (3, 8, 8, 8),
        time_axes=1,
        shorter=13,
    ),
    fallback(
        "Running mean",
        "1611.08240",
        recurrent.Cumulative,
        (3, 8, 8, 8),
        time_axes=0,
        because="one value per frame of the clip",
    ),
    # Detection, poses, signs, several inputs and outputs.
    exact("YOWO", "1911.06644", heads.YOWO, (3, 8, 16, 16), stride=8),
    exact("AVA head, pooled", "1705.08421", lambda: heads.ActionDetection("pool"), (3, 8, 8, 8)),
    exact(
        "AVA head, middle frame",
        "1705.08421",
        lambda: heads.ActionDetection("middle"),
        (3, 8, 8, 8),
    ),
    exact(
        "AVA head, last frame", "1705.08421", lambda: heads.ActionDetection("last"), (3, 8, 8, 8)
    ),
    exact("SSD on clips", "1512.02325", heads.SSD, (3, 8, 8, 8)),
    fallback(
        "MOC tubelets", "2001.04608", heads.Tubelets, (3, 4, 8, 8), because="folded into axis 1"
    ),
    exact("Two-stream", "1406.2199", heads.TwoStream, ((3, 8, 16, 16), (2, 8, 16, 16)), stride=2),
    exact("Stacked flow", "1406.2199", heads.FlowFirst, (2, 8, 8, 8)),
    exact(
        "Audio-visual",
        "2107.06592",
        heads.AudioVisual,
        ((3, 8, 8, 8), (1, 8, 8, 1)),
        time_axes=(0, 0),
    ),
    exact("PoseConv3D", "2104.13586", heads.PoseConv3D, (17, 8, 8, 8)),
    exact("ST-GCN", "1801.07455", heads.SkeletonGraph, (3, 16, 8, 2), stride=16),
    exact(
        "Sign language, TCN",
        "2104.02330",
        lambda: heads.SignLanguage(False),
        (3, 24, 8, 8),
        time_axes=0,
        stride=4,
    ),
    fallback(
        "Sign language, BiLSTM",
        "2104.02330",
        lambda: heads.SignLanguage(True),
        (3, 24, 8, 8),
        because="batch axis",
        time_axes=0,
        stride=4,
    ),
    exact(
        "Sign language, I3D and TCN",
        "2010.02197",
        heads.SignI3D,
        (3, 16, 32, 32),
        time_axes=1,
        stride=4,
    ),
    exact("Egocentric, two tasks", "1907.11236", heads.EgocentricTwoTasks, (3, 8, 8, 8)),
    approximated(
        "Background subtraction", "1604.02808", heads.BackgroundSubtraction, (3, 8, 8, 8), NEWEST
    ),
    fallback("R3D with group norm", "1803.08494", heads.GroupNormR3D, (3, 8, 8, 8), "norm"),
)
