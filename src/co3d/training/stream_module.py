"""Training in streaming form: through the step program, with carried state.

A clip network that is streamed sees another context than in training: no padding on the side of the
future, gates that pool a frame instead of a clip, longer windows. Here it is trained on its stream
outputs, by back-propagation through time truncated at the beginning of each chunk (Williams & Peng
1990, doi:10.1162/neco.1990.2.4.490).
"""

from typing import Any

from torch import Tensor

from co3d.compiler.trainable import TrainableState, convert_trainable
from co3d.models import ClipModel
from co3d.training.batches import ChunkLoader, TrainingData, make_loader
from co3d.training.module import ClipTraining
from co3d.training.recipe import Recipe, StreamForm


class StreamTraining(ClipTraining):
    """Trains a network through its steps; see `ClipTraining`.

    Batch norms keep their statistics and dropout is off, because a stream has no batch of clips and
    must be deterministic. Accuracies count all valid steps of the validation streams.

    Args:
        net, recipe, data: as for `ClipTraining`; the recipe's form is "stream". `data` holds videos
            of `video_frames` frames, and `streams` of them step together.
        frame_shape: (C, H, W).
        per_frame: whether the labels of `data` are those of frames.

    Raises:
        ConversionError: the network has no steps to be trained through.
    """

    def __init__(
        self,
        net: ClipModel,
        recipe: Recipe,
        data: TrainingData,
        frame_shape: tuple[int, int, int],
        *,
        per_frame: bool,
    ) -> None:
        super().__init__(net, recipe, data)
        assert isinstance(recipe.form, StreamForm)
        self.form, self.per_frame = recipe.form, per_frame
        channels, *side = frame_shape
        self.live = convert_trainable(
            net,
            (channels, net.card.clip_frames, *side),
            window=self.form.window,
            scope=self.form.scope,
        )
        self._state: TrainableState | None = None

    def make_chunks(self, data: TrainingData, *, train: bool) -> list[ChunkLoader]:
        """Loaders of chunks: one of the training videos, or one per validation set."""
        program, form = self.live.program, self.form
        sets = [data.train] if train else list(data.validation.values())
        return [
            ChunkLoader(
                make_loader(items, data, self.recipe.seed, train=train),
                form.video_frames,
                form.chunk_frames,
                program.delay,
                program.first_valid_step,
                per_frame=self.per_frame,
                only_last=train and form.loss == "last",
            )
            for items in sets
        ]

    def compute_outputs(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Logits (M, K) and labels of the counted steps of all streams; M may be 0."""
        state = None if batch["is_first"] or self._state is None else self._state.detach()
        outputs, self._state = self.live.run(batch["clip"], self.live.derive(self.net), state)
        scored = batch["scored"]
        return outputs[:, scored].flatten(0, 1), batch["label"][:, scored].flatten(0, 1)

    def on_validation_epoch_start(self) -> None:
        """Reset the scores, and the state of the training streams."""
        super().on_validation_epoch_start()
        self._state = None

    def on_train_epoch_start(self) -> None:
        """Unfreeze the layers that are due, and start with new videos."""
        super().on_train_epoch_start()
        self._state = None
