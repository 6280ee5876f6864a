"""Opens labellers and engines by a network's name, a network, or an exported file."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from co3d.arguments import check_arguments
from co3d.compiler.options import ConvertOptions
from co3d.compiler.program import SMALL_NETWORK_MACS, Edges, Program
from co3d.engine.engine import Engine
from co3d.engine.labelling import Labeller
from co3d.engine.labels import check_display, check_top_k, list_labels
from co3d.engine.playable import explain_unplayable
from co3d.errors import ExportedFileError, OptionError
from co3d.export import is_exported, load_program
from co3d.export.program_cache import convert_or_read
from co3d.models import ModelCard, create_trained_model, find_card, get_card
from co3d.runtime import compile as compile_program
from co3d.runtime.stored_program import StoredProgram


def find_network(
    model: str | nn.Module,
) -> tuple[ModelCard, tuple[StoredProgram, ModelCard] | None]:
    """The card of a network, and for an exported file the argument `exported` of `open_labeller`.

    Raises:
        OptionError: the given network has no card.
        UnknownModelError, ExportedFileError, SourceNotFoundError: as for `open_labeller`.
    """
    if isinstance(model, nn.Module):
        return _require_card(model), None
    if not is_exported(model):
        return get_card(model), None
    exported = open_exported(model)
    return exported[1], exported


@check_arguments()
def open_labeller(
    model: str | nn.Module = "camera_motion",
    *,
    weights: str | Path | None = None,
    window: int | None = None,
    labels: Sequence[str] | None = None,
    rate_hz: float | None = None,
    top_k: int | None = None,
    has_end: bool = True,
    threshold: float = 0.0,
    smooth_seconds: float = 0.0,
    backend: str = "auto",
    precision: str | None = None,
    device: str = "cpu",
    threads: int | None = None,
    meanwhile: bool = False,
    exported: tuple[StoredProgram, ModelCard] | None = None,
) -> Labeller:
    """Open a network for labelling: convert it or read an exported file, and compile it.

    A network that was converted before is read from the cache (see `convert_or_read`).

    Args:
        model: a name from `list_models`, the folder of a training run, a file that
            `export_program` wrote, or an `nn.Module` with a `ModelCard` as its attribute `card`.
        weights: a tag or a path; None takes the weights in that folder, or those bundled with the
            package.
        window: feature frames that the last pooling averages; None takes the clip's own number.
        labels: names of the classes, index 0 first; None takes those of the model's card.
        rate_hz: frames per second after sampling; None takes the model's.
        top_k: the most labels per prediction, 1 to the number of classes; None takes 3, or all if
            there are fewer.
        has_end: whether the video ends (a file), so that its last frames are described exactly;
            False for live sources.
        threshold: probability that a label must reach to be shown, 0 to 1.
        smooth_seconds: time constant of an exponential average of probabilities over time; 0 for
            none.
        backend, precision, device: as for `co3d.compile`.
        threads: sets PyTorch's threads for the whole process. None takes one thread for a small
            network, whose threads would wait for each other more than they compute; otherwise it
            changes nothing.
        meanwhile: as for `co3d.compile`.
        exported: the result of `open_exported` for the file; None reads it.

    Raises:
        MissingPackageError: the backend's package is not installed.
        UnknownModelError: no such model or weight tag.
        WeightError: the weights do not fit.
        ExportedFileError: the file cannot be run, or does not label frames one by one.
        OptionError: `window`, `top_k`, `threshold` or `smooth_seconds` is out of range, no weights
            are given or bundled, an option is fixed by the exported file, `labels` or the card does
            not fit the network, or the device is missing.
        ConversionError: the network cannot be converted.
    """
    check_display(threshold, smooth_seconds)
    if threads is not None and threads < 1:
        raise OptionError(f"cannot use {threads} threads: expected 1 or more")
    network, card, program = _open_network(
        model, weights, window, labels, "both" if has_end else "start", exported
    )
    names = list_labels(program, card)
    top_k = check_top_k(top_k, names, _name(model))
    if threads is None and program.macs_per_frame < SMALL_NETWORK_MACS:
        threads = 1
    if threads is not None:
        torch.set_num_threads(threads)
    return Labeller(
        model=network,
        card=card,
        compiled=compile_program(
            program, backend=backend, precision=precision, device=device, meanwhile=meanwhile
        ),
        labels=names,
        rate_hz=card.rate_hz if rate_hz is None else rate_hz,
        top_k=top_k,
        has_end=has_end,
        threshold=threshold,
        smooth_seconds=smooth_seconds,
    )


def open_engine(
    model: str | nn.Module = "camera_motion",
    *,
    weights: str | Path | None = None,
    window: int | None = None,
    labels: Sequence[str] | None = None,
    backend: str = "auto",
    precision: str | None = None,
    device: str = "cpu",
    meanwhile: bool = False,
    **limits: Any,
) -> Engine:
    """Open a network as `open_labeller` does, and start an engine with it.

    Args:
        model, weights, window, labels: as for `open_labeller`.
        backend, precision, device, meanwhile: as for `co3d.compile`.
        limits: as for `Engine`.

    Raises:
        What `open_labeller` and `Engine` raise.
    """
    _, card, program = _open_network(model, weights, window, labels, "both")
    compiled = compile_program(
        program, backend=backend, precision=precision, device=device, meanwhile=meanwhile
    )
    return Engine(compiled, card, **limits)


def _open_network(
    model: str | nn.Module,
    weights: str | Path | None,
    window: int | None,
    labels: Sequence[str] | None,
    edges: Edges,
    exported: tuple[StoredProgram, ModelCard] | None = None,
) -> tuple[nn.Module | None, ModelCard, Program[Any]]:
    """The clip network (None for an exported file), its card, and its step program."""
    network, card, program = _open_as_it_is(model, weights, window, edges, exported)
    if labels is not None:
        card = dataclasses.replace(card, labels=labels)
    # Slots are None, because only files fix them, and `open_exported` has checked those.
    complaint = explain_unplayable(program, card, None)
    if complaint is not None:
        raise OptionError(f"cannot label with {_name(model)}: {complaint}")
    return network, card, program


def _open_as_it_is(
    model: str | nn.Module,
    weights: str | Path | None,
    window: int | None,
    edges: Edges,
    exported: tuple[StoredProgram, ModelCard] | None,
) -> tuple[nn.Module | None, ModelCard, Program[Any]]:
    """Do what `_open_network` does, without changing the card's labels."""
    options = ConvertOptions(window=window, edges=edges)
    if isinstance(model, nn.Module):
        if weights is not None:
            raise OptionError(
                f"cannot label with {_name(model)}: got weights={str(weights)!r} for a network "
                "that has its own; load them into it first"
            )
        card = _require_card(model)
        return model, card, convert_or_read(model, card.clip_shape, options)
    if is_exported(model):
        if weights is not None or window is not None:
            raise OptionError(
                f"cannot label with {model}: its weights and window are settled in the file; "
                "leave --weights and --window out, or export the network again"
            )
        program, card = exported or open_exported(model)
        return None, card, program
    registered = create_trained_model(model, weights, purpose="label with")
    program = convert_or_read(registered, registered.card.clip_shape, options)
    return registered, registered.card, program


def _name(model: str | nn.Module) -> str:
    return model if isinstance(model, str) else type(model).__name__


def _require_card(network: nn.Module) -> ModelCard:
    card = find_card(network)
    if card is None:
        raise OptionError(
            f"cannot label with {_name(network)}: it does not say how to prepare a picture; set "
            "its attribute `card` to a co3d.ModelCard"
        )
    return card


def open_exported(path: str | Path) -> tuple[StoredProgram, ModelCard]:
    """Read the program and card of an exported file that labels one video frame by frame.

    Raises:
        SourceNotFoundError: there is no such file.
        ExportedFileError: it cannot be read, or cannot label a video frame by frame.
    """
    artefact = load_program(path)
    program, card = artefact.program, artefact.card
    complaint = explain_unplayable(program, card, program.slots)
    if complaint is not None:
        raise ExportedFileError(f"cannot label with {path}: {complaint}")
    assert card is not None
    return program, card
