"""Networks of the packages that people install, small frames, few of them, random weights."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from support.installed_packages import load_mmaction, load_package
from zoo.family import PER_FRAME, Family


class _Recognizer(nn.Module):
    """A backbone of MMAction2, a neck where there is one, and a head."""

    def __init__(self, backbone: nn.Module, head: nn.Module, neck: nn.Module | None = None) -> None:
        super().__init__()
        self.backbone, self.head, self.neck = backbone, head, neck

    def forward(self, x: Tensor) -> Tensor:
        y = self.backbone(x)
        return self.head(y if self.neck is None else self.neck(y)[0])


class _FrameRecognizer(nn.Module):
    """A backbone of MMAction2 over frames in the batch, and a head that joins them."""

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(self, x: Tensor) -> Tensor:
        frames = x.shape[2]
        x = x.transpose(1, 2).reshape((-1, x.shape[1], *x.shape[3:]))
        return self.head(self.backbone(x), frames)


class _FrameNetwork(nn.Module):
    """Any network of pictures over the frames of a clip, and the mean of its scores."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        frames = x.shape[2]
        scores = self.network(x.transpose(1, 2).flatten(0, 1))
        return scores.unflatten(0, (-1, frames)).mean(1)


class _OneClip(nn.Module):
    """A SlowFast that picks its slow pathway's frames from the clip."""

    def __init__(self, network: nn.Module, alpha: int) -> None:
        super().__init__()
        self.network, self.alpha = network, alpha

    def forward(self, x: Tensor) -> Tensor:
        return self.network([x[:, :, :: self.alpha], x])


def _torchvision(name: str) -> Callable[[], nn.Module]:
    return lambda: getattr(load_package("torchvision.models.video"), name)(
        weights=None, num_classes=5
    )


def _pytorchvideo(module: str, name: str, **options: Any) -> Callable[[], nn.Module]:
    return lambda: getattr(load_package(f"pytorchvideo.models.{module}"), name)(
        model_num_class=5, **options
    )


def _pytorchvideo_slowfast() -> nn.Module:
    make = _pytorchvideo(
        "slowfast", "create_slowfast", model_depth=50,
        head_pool_kernel_sizes=((2, 1, 1), (8, 1, 1)),
    )  # fmt: skip
    return _OneClip(make(), 4)


def _mmaction(backbone: str, head: str, width: int, **options: Any) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        models = load_mmaction()
        return _Recognizer(getattr(models, backbone)(**options), getattr(models, head)(5, width))

    return make


def _mmaction_2d(backbone: str, head: str, width: int, **options: Any) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        models = load_mmaction()
        segments = {} if head == "TSNHead" else {"num_segments": 8}
        if head == "TRNHead":
            segments["relation_type"] = "TRN"
        return _FrameRecognizer(
            getattr(models, backbone)(pretrained=None, **options),
            getattr(models, head)(5, width, **segments),
        )

    return make


def _mmaction_slowfast() -> nn.Module:
    models = load_mmaction()
    common = {"type": "resnet3d", "depth": 18, "pretrained": None, "norm_eval": False}
    common |= {"conv1_stride_t": 1, "pool1_stride_t": 1}
    backbone = models.ResNet3dSlowFast(
        pretrained=None,
        resample_rate=4,
        speed_ratio=4,
        channel_ratio=8,
        slow_pathway={
            **common,
            "lateral": True,
            "conv1_kernel": (1, 7, 7),
            "dilations": (1, 1, 1, 1),
            "inflate": (0, 0, 1, 1),
        },
        fast_pathway={**common, "lateral": False, "base_channels": 8, "conv1_kernel": (5, 7, 7)},
    )
    return _Recognizer(backbone, models.SlowFastHead(5, 512 + 64))


def _mmaction_tpn() -> nn.Module:
    models = load_mmaction()
    backbone = models.ResNet3dSlowOnly(
        50, pretrained=None, out_indices=(2, 3), inflate=(0, 0, 1, 1), norm_eval=False
    )
    neck = models.TPN(
        in_channels=(1024, 2048),
        out_channels=1024,
        spatial_modulation_cfg={"in_channels": (1024, 2048), "out_channels": 2048},
        temporal_modulation_cfg={"downsample_scales": (8, 8)},
        upsample_cfg={"scale_factor": (1, 1, 1)},
        downsample_cfg={"downsample_scale": (1, 1, 1)},
        level_fusion_cfg={
            "in_channels": (1024, 1024),
            "mid_channels": (1024, 1024),
            "out_channels": 2048,
            "downsample_scales": ((1, 1, 1), (1, 1, 1)),
        },
    )
    return _Recognizer(backbone, models.TPNHead(5, 2048), neck)


def _monai(name: str, **options: Any) -> Callable[[], nn.Module]:
    return lambda: getattr(load_package("monai.networks.nets"), name)(spatial_dims=3, **options)


def _timm(name: str, **options: Any) -> Callable[[], nn.Module]:
    return lambda: _FrameNetwork(load_package("timm").create_model(name, num_classes=5, **options))


_CLIP, _VOLUME = (3, 8, 32, 32), (1, 8, 16, 16)
_UNET = {"in_channels": 1, "out_channels": 2}


def _of(
    package: str, network: str, make: Callable[[], nn.Module], clip: tuple, **more: Any
) -> Family:
    return Family(f"{package} {network}", package, make, clip, **{"kind": "exact", **more})


INSTALLED = (
    _of("torchvision", "r3d_18", _torchvision("r3d_18"), (3, 8, 16, 16), stride=8),
    _of("torchvision", "mc3_18", _torchvision("mc3_18"), (3, 4, 16, 16)),
    _of("torchvision", "r2plus1d_18", _torchvision("r2plus1d_18"), (3, 8, 16, 16), stride=8),
    _of("torchvision", "s3d", _torchvision("s3d"), (3, 24, 224, 224), stride=8),
    _of(
        "pytorchvideo", "x3d",
        _pytorchvideo(
            "x3d", "create_x3d", input_clip_length=4, input_crop_size=32, head_activation=None
        ),
        (3, 4, 32, 32), kind="approximated", approximations=(PER_FRAME,),
    ),
    _of(
        "pytorchvideo", "slow",
        _pytorchvideo("resnet", "create_resnet", model_depth=50, head_pool_kernel_size=(4, 1, 1)),
        (3, 4, 32, 32),
    ),
    _of(
        "pytorchvideo", "i3d", _pytorchvideo("hub", "i3d_r50", head_pool_kernel_size=(4, 1, 1)),
        _CLIP, stride=2,
    ),
    _of("pytorchvideo", "slowfast", _pytorchvideo_slowfast, _CLIP, stride=4),
    _of(
        "pytorchvideo", "csn",
        _pytorchvideo("csn", "create_csn", model_depth=50, head_pool_kernel_size=(1, 1, 1)),
        _CLIP, stride=8,
    ),
    _of(
        "pytorchvideo", "r2plus1d",
        _pytorchvideo(
            "r2plus1d",
            "create_r2plus1d",
            model_depth=50,
            head_pool_kernel_size=(2, 2, 2),
            head_activation=None,
        ),
        (3, 8, 64, 64), stride=4,
    ),
    _of(
        "mmaction2", "C2D",
        _mmaction("C2D", "I3DHead", 2048, depth=50, pretrained=None, norm_eval=False), _CLIP,
        stride=2,
    ),
    _of(
        "mmaction2", "I3D",
        _mmaction("ResNet3d", "I3DHead", 512, depth=18, pretrained=None, pretrained2d=False),
        _CLIP, stride=2,
    ),
    _of(
        "mmaction2", "SlowOnly",
        _mmaction("ResNet3dSlowOnly", "I3DHead", 2048, depth=50, pretrained=None), (3, 4, 32, 32),
    ),
    _of(
        "mmaction2", "SlowFast", _mmaction_slowfast, (3, 16, 32, 32), stride=4,
        kind="approximated", approximations=("instead of these of a clip",),
    ),
    _of(
        "mmaction2", "CSN",
        _mmaction(
            "ResNet3dCSN", "I3DHead", 2048, depth=50, pretrained=None, pretrained2d=False,
            bottleneck_mode="ir", norm_eval=False, bn_frozen=False,
        ),
        _CLIP, stride=16,
    ),
    _of(
        "mmaction2", "X3D", _mmaction("X3D", "X3DHead", 432, gamma_w=1, gamma_b=2.25, gamma_d=1),
        (3, 4, 32, 32), kind="approximated", approximations=(PER_FRAME,),
    ),
    _of("mmaction2", "TPN", _mmaction_tpn, _CLIP, stride=8),
    _of("mmaction2", "TSN", _mmaction_2d("ResNet", "TSNHead", 512, depth=18), _CLIP),
    _of("mmaction2", "TSM", _mmaction_2d("ResNetTSM", "TSMHead", 512, depth=18), _CLIP),
    _of("mmaction2", "TSM, MobileNet", _mmaction_2d("MobileNetV2TSM", "TSMHead", 1280), _CLIP),
    _of("mmaction2", "TRN", _mmaction_2d("ResNet", "TRNHead", 512, depth=18), _CLIP),
    _of(
        "mmaction2", "TANet",
        _mmaction_2d("TANet", "TSMHead", 2048, depth=50, num_segments=8), _CLIP, kind="fallback",
    ),
    _of(
        "mmaction2", "UniFormer",
        _mmaction(
            "UniFormer", "I3DHead", 64, depth=[1, 1, 1, 1], embed_dim=[16, 32, 64, 64], head_dim=16
        ),
        _CLIP, kind="fallback", stride=2,
    ),
    _of(
        "monai", "UNet",
        _monai("UNet", channels=(4, 8, 8), strides=(2, 2), norm="batch", **_UNET), _VOLUME,
        time_axes=1,
    ),
    _of(
        "monai", "BasicUNet",
        _monai("BasicUNet", features=(4, 4, 8, 8, 8, 4), norm="batch", **_UNET), (1, 16, 16, 16),
        time_axes=1,
    ),
    _of("monai", "VNet", _monai("VNet", **_UNET), (1, 16, 16, 16), time_axes=1),
    _of(
        "monai", "SegResNet", _monai("SegResNet", init_filters=8, **_UNET), _VOLUME,
        kind="fallback", time_axes=1,
    ),
    _of(
        "monai", "DenseNet",
        _monai(
            "DenseNet", in_channels=1, out_channels=5, init_features=8, growth_rate=4,
            block_config=(2, 2),
        ),
        _VOLUME, stride=8,
    ),
    _of("timm", "resnet18, per frame", _timm("resnet18"), _CLIP),
    _of("timm", "mobilenetv3_small_050, per frame", _timm("mobilenetv3_small_050"), _CLIP),
    _of("timm", "vit_tiny, per frame", _timm("vit_tiny_patch16_224", img_size=32), _CLIP),
)  # fmt: skip
