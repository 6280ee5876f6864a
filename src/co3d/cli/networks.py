"""The network that a command names: a registered one, or one that a user's file builds."""

import dataclasses
from typing import Any, NamedTuple, cast

from torch import nn

from co3d.cli.card_options import make_card
from co3d.cli.options import CardOptions, ConversionOptions, Edges, StreamOptions
from co3d.compiler import StepProgram, convert
from co3d.errors import OptionError
from co3d.export import is_exported
from co3d.models import create_model, find_card
from co3d.models.file_networks import build_network, is_file_network, redirect_prints
from co3d.models.labels import read_label_file

ClipShape = tuple[int, ...]


def open_network(options: ConversionOptions) -> tuple[nn.Module, list[ClipShape]]:
    """Build the network; returns it with its clip shapes, (C, T, H, W) per input.

    A name builds a registered network; `file.py:factory` runs that file, which the user must trust,
    and calls its `factory()`.

    Raises:
        OptionError: no such file or factory, or clips that are missing or not four sizes.
        UnknownModelError, WeightError: as for `create_model`.
    """
    shapes = [_parse_clip(text) for text in options.clips]
    if not is_file_network(options.network):
        model = create_model(options.network, weights=options.weights)
        return model, shapes or [model.card.clip_shape]
    network = build_network(options.network, options.weights)
    return network, shapes or [_find_clip(options.network, network)]


class StreamedNetwork(NamedTuple):
    """Arguments of these names for `open_labeller` and `open_engine`."""

    model: str | nn.Module
    weights: str | None
    labels: tuple[str, ...] | None


def open_streamed(options: StreamOptions) -> StreamedNetwork:
    """The network for `co3d stream`; a network of a user's file is built.

    Raises:
        OptionError: as for `describe_network`, or an option for networks of a user's file is given
            for another network. WeightError: the weights do not fit.
    """
    card = options.card
    if is_file_network(options.model) and not is_exported(options.model):
        described = dataclasses.replace(card, rate_hz=options.camera.rate_hz)
        network = describe_network(options.model, options.weights, options.clip, described)
        return StreamedNetwork(network, None, None)
    if options.clip is not None or card != CardOptions(labels=card.labels):
        raise OptionError(
            f"cannot label with {options.model}: its card says how to prepare pictures; leave "
            "--clip, --mean, --std and --short-side out"
        )
    labels = None if card.labels is None else read_label_file(card.labels)
    return StreamedNetwork(options.model, options.weights, labels)


def describe_network(
    name: str, weights: str | None, clip: str | None, options: CardOptions
) -> nn.Module:
    """Build the network of a user's file, with a `card` from its own card and the options.

    Args:
        name: file.py:factory. weights: a checkpoint file.
        clip: "C,T,H,W"; None for that of the network's own card.
        options: describe the network; those left out come from its card.

    Raises:
        OptionError: as for `open_network`, or the network has no card in the end.
        WeightError: the weights do not fit.
    """
    network = build_network(name, weights)
    own = find_card(network)
    shape = _find_clip(name, network) if clip is None else _parse_clip(clip)
    if own is not None and shape != own.clip_shape:
        raise OptionError(
            f"cannot label with {name}: got --clip {clip}, but its card says "
            f"{','.join(map(str, own.clip_shape))}; leave --clip out, or change the card"
        )
    card = make_card(options, own, name, [shape])
    if card is None:
        raise OptionError(
            f"cannot label with {name}: it does not say how to prepare a picture; give --rate-hz, "
            "--mean and --std, or set its attribute `card` to a co3d.ModelCard"
        )
    network.card = cast(Any, card)
    return network


def _find_clip(name: str, network: nn.Module) -> ClipShape:
    card = find_card(network)
    if card is None:
        raise OptionError(
            f"cannot convert {name}: its clip shape is not known; give --clip C,T,H,W, e.g. --clip "
            "3,16,112,112, or set its attribute `card` to a co3d.ModelCard"
        )
    return card.clip_shape


def convert_network(options: ConversionOptions) -> tuple[StepProgram, list[ClipShape]]:
    """Build and convert a network; returns the program and its clip shapes."""
    model, shapes = open_network(options)
    return convert_opened(options, model, shapes), shapes


def convert_opened(
    options: ConversionOptions,
    model: nn.Module,
    shapes: list[ClipShape],
    edges: Edges = "start",
) -> StepProgram:
    """Convert the result of `open_network`."""
    with redirect_prints():
        return convert(
            model,
            shapes,
            **options.keywords,
            edges=edges,
        )


def _parse_clip(text: str) -> ClipShape:
    try:
        shape = tuple(int(size) for size in text.split(","))
    except ValueError:
        shape = ()
    if len(shape) != 4:
        raise OptionError(f"cannot read --clip {text!r}: expected C,T,H,W, e.g. 3,16,112,112")
    return shape
