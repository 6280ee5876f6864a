"""From a name or an exported file to a labeller that is ready for its video."""

from pathlib import Path
from typing import Any

import torch

from co3d.compiler.options import ConvertOptions
from co3d.compiler.program import SMALL_NETWORK_MACS, Edges, Program
from co3d.engine.engine import Engine
from co3d.engine.labelling import Labeller
from co3d.engine.labels import check_display, check_top_k, list_labels
from co3d.engine.playable import explain_unplayable
from co3d.errors import ExportedFileError, OptionError
from co3d.export import is_exported, load_program
from co3d.export.program_cache import convert_or_read
from co3d.models import ClipModel, ModelCard, create_trained_model
from co3d.runtime import compile as compile_program
from co3d.runtime.stored_program import StoredProgram


def open_labeller(
    model_name: str = "camera_motion",
    *,
    weights: str | None = None,
    window: int | None = None,
    rate_hz: float | None = None,
    top_k: int | None = None,
    has_end: bool = True,
    threshold: float = 0.0,
    smooth_seconds: float = 0.0,
    backend: str = "auto",
    precision: str | None = None,
    device: str = "cpu",
    threads: int | None = None,
    exported: tuple[StoredProgram, ModelCard] | None = None,
) -> Labeller:
    """Build a network and convert it, or read an exported file; compile it.

    A network that was converted before is read from the cache (see `convert_or_read`).

    Args:
        model_name: a name that `list_models` gives, the folder of a training run, or a file that
            `export_program` wrote.
        weights: a tag or a path; None takes the weights in that folder, or those bundled with the
            package.
        window: feature frames that the last pooling averages; None takes the clip's own number.
        rate_hz: frames per second of the source, once sampled; None takes the model's.
        top_k: labels per prediction, 1 to the number of classes; None takes 3 if there are.
        has_end: the video ends (a file), so its end is reproduced exactly; False for live sources.
        threshold: probability that a label must reach to be shown, 0 to 1.
        smooth_seconds: time constant of an exponential average of probabilities over time; 0 for
            none.
        backend, precision, device: as for `co3d.compile`.
        threads: processor threads for the whole process; None takes one for a small network, whose
            threads would wait for each other more than they compute, else leaves them as they are.
        exported: what `open_exported` gave of the file; None reads it.

    Raises:
        MissingPackageError: the backend's package is not installed.
        UnknownModelError: no such model or weight tag.
        WeightError: the weights do not fit.
        ExportedFileError: the file cannot be run, or does not label frames one by one.
        OptionError: `window`, `top_k`, `threshold` or `smooth_seconds` is out of range, no weights
            are given or bundled, an option is settled in the file, or the device is not there.
        ConversionError: the network cannot be converted.
    """
    check_display(threshold, smooth_seconds)
    model, card, program = _open_network(
        model_name, weights, window, "both" if has_end else "start", exported
    )
    labels = list_labels(program, card)
    top_k = check_top_k(top_k, labels, model_name)
    if threads is None and program.macs_per_frame < SMALL_NETWORK_MACS:
        threads = 1
    if threads is not None:
        torch.set_num_threads(threads)
    return Labeller(
        model=model,
        card=card,
        compiled=compile_program(program, backend=backend, precision=precision, device=device),
        labels=labels,
        rate_hz=card.rate_hz if rate_hz is None else rate_hz,
        top_k=top_k,
        has_end=has_end,
        threshold=threshold,
        smooth_seconds=smooth_seconds,
    )


def open_engine(
    model_name: str = "camera_motion",
    *,
    weights: str | None = None,
    window: int | None = None,
    backend: str = "auto",
    precision: str | None = None,
    device: str = "cpu",
    **limits: Any,
) -> Engine:
    """Build a network and convert it, or read an exported file; start an engine with it.

    Args:
        model_name, weights, window: as for `open_labeller`.
        backend, precision, device: as for `co3d.compile`.
        limits: as for `Engine`.

    Raises:
        What `open_labeller` and `Engine` raise.
    """
    _, card, program = _open_network(model_name, weights, window, "both")
    compiled = compile_program(program, backend=backend, precision=precision, device=device)
    return Engine(compiled, card, **limits)


def _open_network(
    model_name: str,
    weights: str | None,
    window: int | None,
    edges: Edges,
    exported: tuple[StoredProgram, ModelCard] | None = None,
) -> tuple[ClipModel | None, ModelCard, Program[Any]]:
    """A network's clip form, unless a file has it no more, its card, and its step form."""
    if is_exported(model_name):
        if weights is not None or window is not None:
            raise OptionError(
                f"cannot label with {model_name}: its weights and window are settled in the file; "
                "leave --weights and --window out, or export the network again"
            )
        program, card = exported or open_exported(model_name)
        return None, card, program
    model = create_trained_model(model_name, weights, purpose="label with")
    options = ConvertOptions(window=window, edges=edges)
    return model, model.card, convert_or_read(model, model.card.clip_shape, options)


def open_exported(path: str | Path) -> tuple[StoredProgram, ModelCard]:
    """The program and card of an exported file that labels one video frame by frame.

    Raises:
        SourceNotFoundError: there is no such file.
        ExportedFileError: it cannot be read, or is of another kind.
    """
    artefact = load_program(path)
    program, card = artefact.program, artefact.card
    complaint = explain_unplayable(program, card, program.slots)
    if complaint is not None:
        raise ExportedFileError(f"cannot label with {path}: {complaint}")
    assert card is not None
    return program, card
