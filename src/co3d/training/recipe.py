"""The recipe of a training run: all settings that determine its result.

Every field has a working default, so a recipe only states what differs.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from co3d.compiler.program import Scope

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
AtLeastZero = Annotated[float, Field(ge=0)]
Value = str | int | float | bool | None


class Section(BaseModel):
    """A section of a recipe: no unknown keys, no implicit conversions, immutable."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class ModelSection(Section):
    """The network and the weights to start from, as for `co3d.create_model`.

    Attributes:
        name: registered name, the folder of an earlier run, or FILE.py:FACTORY, which is run.
        weights: a tag, a file or "random"; None for the bundled ones, or those of the run or of
            FACTORY.
        dropout: None for the published one.
        head: "new" is a freshly initialised classifier of the data's classes; "part" starts from
            the weights' rows for them, "whole" keeps all classes of the weights. Both find classes
            by name.
        labels: file with a class name a line, for weights without class names.
    """

    name: str = "camera_motion"
    weights: str | None = None
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    head: Literal["new", "part", "whole"] = "new"
    labels: str | None = None


class CameraMotionData(Section):
    """Generated clips of a moving camera; see `co3d.datasets.generated.camera_motion`.

    Attributes:
        frames_per_batch: a batch holds about frames_per_batch / T clips of T frames.
        clip_lengths: the lengths T to draw from, one a batch.
        steps_per_epoch: batches between two validations.
        validation_clips: fixed clips of the validation photographs.
        crops_per_photograph, textures_per_kind: how many canvases to film.
        workers: processes that draw batches ahead; 0 draws them in the training process.
    """

    kind: Literal["camera_motion"] = "camera_motion"
    frames_per_batch: Count = 192
    clip_lengths: Annotated[tuple[Count, ...], Field(min_length=1)] = (8,)
    steps_per_epoch: Count = 300
    validation_clips: Count = 288
    crops_per_photograph: Count = 48
    textures_per_kind: Count = 80
    workers: Annotated[int, Field(ge=0)] = 1


class VideoData(Section):
    """Videos of a data set: a manifest, or a folder in a layout that `co3d data` knows.

    Attributes:
        path: manifest file or folder. layout, classes: as for `co3d.datasets.open_dataset`.
        root: folder of the videos, if the lists are elsewhere.
        labels, only: files with a class name a line: names for numbered classes, and the classes to
            use.
        train_split, validation_split: names of splits; None takes "train" and "val" if the set has
            them. Without a validation split, `validation_share` of each class's training videos is
            held out, drawn by the seed.
        background: folder of videos in which nothing of interest happens; adds a last class
            "background".
        batch: clips per step and device.
        clips_per_video: random clips of each video in an epoch.
        clip_frames, rate_hz, crop_px: of a clip; None for those of the model's card.
        short_side_px: range of the short side before the random crop; None for 1 to 1.25 times the
            card's own.
        flip: mirror half of the clips from left to right.
        mixup, cutmix: alpha of the Beta distribution of the mixed share; 0 turns it off
            (arXiv:1710.09412, arXiv:1905.04899).
        workers: processes that decode ahead; 0 decodes in the training process.
    """

    kind: Literal["videos"] = "videos"
    path: str = ""
    layout: str = "auto"
    classes: str | None = None
    root: str | None = None
    labels: str | None = None
    only: str | None = None
    train_split: str | None = None
    validation_split: str | None = None
    validation_share: Annotated[float, Field(gt=0, lt=1)] = 0.2
    background: str | None = None
    batch: Count = 8
    clips_per_video: Count = 1
    clip_frames: Count | None = None
    rate_hz: Positive | None = None
    crop_px: Count | None = None
    short_side_px: tuple[Count, Count] | None = None
    flip: bool = True
    mixup: AtLeastZero = 0.0
    cutmix: AtLeastZero = 0.0
    workers: Annotated[int, Field(ge=0)] = 2


class ClipForm(Section):
    """Train on clips, as the network is written."""

    kind: Literal["clip"] = "clip"


class SettledForm(Section):
    """Train on clips; of those longer than the card's, only inner frames count in the loss.

    The receptive field of these frames holds no padding, like that of a stream once it has settled.
    The network must have `forward_settled`.
    """

    kind: Literal["settled"] = "settled"


class StreamForm(Section):
    """Train through the step program: frames of a long video, one after another.

    Attributes:
        chunk_frames: frames between two steps of the optimiser. Gradients stop at the beginning of
            a chunk; the state continues.
        video_frames: frames after which a stream is reset; a multiple of `chunk_frames`.
        streams: videos that step together.
        loss: "frame" uses every valid result of a chunk, "last" only the last one.
        window, scope: as for `co3d.convert`.
    """

    kind: Literal["stream"] = "stream"
    chunk_frames: Count = 16
    video_frames: Count = 96
    streams: Count = 4
    loss: Literal["frame", "last"] = "frame"
    window: Count | None = None
    scope: Scope = "frame"

    @model_validator(mode="after")
    def _check_chunks(self) -> "StreamForm":
        if self.video_frames % self.chunk_frames:
            raise ValueError(
                f"video_frames {self.video_frames} is no multiple of chunk_frames "
                f"{self.chunk_frames}"
            )
        return self


class OptimiserSection(Section):
    """The optimiser.

    Attributes:
        kind: "sgd" (Nesterov momentum) or "adamw" (arXiv:1711.05101).
        learning_rate: maximum of the schedule, for the last layers.
        weight_decay: of weights; norms and biases are not decayed.
        momentum: of sgd.
        layer_decay: each group of layers learns at this multiple of the next group's rate.
        clip_norm: gradients with a larger norm are scaled down to it; None turns it off.
        accumulate: batches per step of the optimiser.
    """

    kind: Literal["sgd", "adamw"] = "adamw"
    learning_rate: Positive = 1e-3
    weight_decay: AtLeastZero = 0.02
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    clip_norm: Positive | None = 1.0
    accumulate: Count = 1


class ScheduleSection(Section):
    """How the learning rate changes, from step to step.

    Attributes:
        kind: "constant"; "one_cycle" up to the learning rate and down to zero; "multi_step", which
            multiplies by `factor` at `milestones`; "cosine" down to zero.
        warm_up: share of all steps in which the rate rises: linearly from a hundredth, or along
            one_cycle's own curve.
        milestones: shares of all steps.
    """

    kind: Literal["constant", "one_cycle", "multi_step", "cosine"] = "cosine"
    warm_up: Annotated[float, Field(ge=0, lt=1)] = 0.1
    milestones: tuple[Share, ...] = (0.5, 0.75)
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1


class LossSection(Section):
    """The loss.

    Attributes:
        kind: "cross_entropy" for one class a clip, "binary_cross_entropy" for any number.
        label_smoothing: share of the target that is spread over all classes.
        class_weights: "none", or "balanced": inversely to the number of training videos of a class.
    """

    kind: Literal["cross_entropy", "binary_cross_entropy"] = "cross_entropy"
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    class_weights: Literal["none", "balanced"] = "none"


class FreezingSection(Section):
    """The layers whose weights are frozen.

    Attributes:
        layers: paths of submodules whose weights and statistics are frozen.
        batch_norm: whether all batch norms freeze their statistics. The stream form always does.
        unfreeze_every: epochs after which one more group of layers is unfrozen, beginning with the
            last group alone (arXiv:1801.06146); None trains all from the start.
    """

    layers: tuple[str, ...] = ()
    batch_norm: bool = False
    unfreeze_every: Count | None = None


class ComputeSection(Section):
    """Where and how the arithmetic runs; results differ only by rounding.

    Attributes:
        accelerator, devices, nodes, strategy: as for Lightning's Trainer; each device trains on its
            own batch.
        precision: float32, or mixed with bfloat16 or float16.
        compile: `torch.compile` the network.
        channels_last: use the channels-last memory layout; faster on most machines.
        threads: of this process; None leaves the number as it is.
    """

    accelerator: str = "auto"
    devices: Count = 1
    nodes: Count = 1
    strategy: str = "auto"
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    compile: bool = False
    channels_last: bool = True
    threads: Count | None = None


class LoggingSection(Section):
    """Where metrics go, besides metrics.csv, which is always written."""

    tensorboard: bool = True
    wandb_project: str | None = None


class Recipe(Section):
    """A training run.

    Attributes:
        name: of the run's folder. seed: of everything random.
        ema_decay: keep an exponential moving average of the weights, and validate and save that;
            None does not.
        early_stopping: epochs without improvement until the run ends; None never ends it early.
        keep: which weights become model.safetensors: the last, or those of the highest score, with
            the lowest validation loss as a tie-breaker.
        search: what `co3d tune` varies, by dotted key: LOW..HIGH, log:LOW..HIGH or a list of
            values. `co3d train` ignores it.
    """

    name: str = "run"
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    epochs: Count = 10
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None
    early_stopping: Count | None = None
    keep: Literal["best", "last"] = "best"
    model: ModelSection = ModelSection()
    data: Annotated[CameraMotionData | VideoData, Field(discriminator="kind")] = CameraMotionData()
    form: Annotated[ClipForm | SettledForm | StreamForm, Field(discriminator="kind")] = ClipForm()
    optimiser: OptimiserSection = OptimiserSection()
    schedule: ScheduleSection = ScheduleSection()
    loss: LossSection = LossSection()
    freezing: FreezingSection = FreezingSection()
    compute: ComputeSection = ComputeSection()
    logging: LoggingSection = LoggingSection()
    search: dict[str, str | Annotated[tuple[Value, ...], Field(min_length=1)]] = {}

    @model_validator(mode="after")
    def _check_parts(self) -> "Recipe":
        if self.form.kind == "stream":
            if self.compute.compile:
                raise ValueError("compute.compile false in stream form, where steps run as graphs")
            if self.data.kind == "videos" and (self.data.mixup or self.data.cutmix):
                raise ValueError("data.mixup and data.cutmix 0 in stream form, which mixes nothing")
        processes = self.compute.devices * self.compute.nodes
        if self.freezing.unfreeze_every is not None and processes > 1:
            raise ValueError(
                "freezing.unfreeze_every null with several devices, whose gradients are joined "
                "as they were at the start"
            )
        return self
