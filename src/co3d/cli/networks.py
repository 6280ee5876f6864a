"""Which network a command means: a registered one, or one that a user's file builds."""

import contextlib
import dataclasses
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, cast

from torch import nn

from co3d.cli.card_options import make_card, read_labels
from co3d.cli.options import CardOptions, ConversionOptions, Edges, StreamOptions
from co3d.compiler import StepProgram, convert
from co3d.errors import OptionError
from co3d.export import is_exported
from co3d.models import create_model, find_card
from co3d.weights import load_weights

ClipShape = tuple[int, ...]


def open_network(options: ConversionOptions) -> tuple[nn.Module, list[ClipShape]]:
    """Build the network and say for which clips, (C, T, H, W) per input.

    A name builds a registered network; `file.py:factory` runs that file, which must be one that the
    user trusts, and calls `factory()` in it for the network.

    Raises:
        OptionError: no such file or factory, or clips that are not given or not four sizes.
        UnknownModelError, WeightError: as for `create_model`.
    """
    shapes = [_parse_clip(text) for text in options.clips]
    if not is_file_network(options.network):
        model = create_model(options.network, weights=options.weights)
        return model, shapes or [model.card.clip_shape]
    network = build_network(options.network, options.weights)
    return network, shapes or [_find_clip(options.network, network)]


class StreamedNetwork(NamedTuple):
    """What `open_labeller` and `open_engine` take under these names."""

    model: str | nn.Module
    weights: str | None
    labels: tuple[str, ...] | None


def open_streamed(options: StreamOptions) -> StreamedNetwork:
    """The network that `co3d stream` means; one that a user's file builds is built.

    Raises:
        OptionError: as for `describe_network`, or an option for a network of the user's file is
            given with another one. WeightError: the weights do not fit.
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
    labels = None if card.labels is None else read_labels(card.labels)
    return StreamedNetwork(options.model, options.weights, labels)


def describe_network(
    name: str, weights: str | None, clip: str | None, options: CardOptions
) -> nn.Module:
    """The network that a user's file builds, whose `card` says what the options say of it.

    Args:
        name: file.py:factory. weights: a checkpoint file.
        clip: "C,T,H,W"; None for that of the network's own card.
        options: what describes the network; those left out are the card's.

    Raises:
        OptionError: as for `open_network`, or the network stays without a card.
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


def is_file_network(name: str) -> bool:
    """Whether a network's name means one that a user's file builds."""
    return ":" in name or name.endswith(".py")


def build_network(name: str, weights: str | None) -> nn.Module:
    """Run `file.py:factory`, a file that the user trusts, and load weights into what it gives.

    Raises:
        OptionError: no such file or factory. WeightError: the weights do not fit.
    """
    path, _, factory = name.rpartition(":")
    if not path.endswith(".py"):
        raise OptionError(
            f"cannot load {name}: got no factory or no Python file, expected FILE.py:FACTORY, e.g. "
            "my_network.py:build, or a name that `co3d models` lists"
        )
    with users_code():
        network = _build(Path(path), factory)
    if weights is not None:
        load_weights(network, weights)
    return network.eval()


def convert_network(options: ConversionOptions) -> tuple[StepProgram, list[ClipShape]]:
    """Build and convert a network; returns the clips for which, too."""
    model, shapes = open_network(options)
    return convert_opened(options, model, shapes), shapes


def convert_opened(
    options: ConversionOptions,
    model: nn.Module,
    shapes: list[ClipShape],
    edges: Edges = "start",
) -> StepProgram:
    """Convert what `open_network` gave."""
    with users_code():
        return convert(
            model,
            shapes,
            **options.keywords,
            edges=edges,
        )


@contextlib.contextmanager
def users_code() -> Iterator[None]:
    """What a user's network prints goes to standard error: standard output is the command's."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


def _parse_clip(text: str) -> ClipShape:
    try:
        shape = tuple(int(size) for size in text.split(","))
    except ValueError:
        shape = ()
    if len(shape) != 4:
        raise OptionError(f"cannot read --clip {text!r}: expected C,T,H,W, e.g. 3,16,112,112")
    return shape


def _build(path: Path, name: str) -> nn.Module:
    """The network that `name` in a file is, or returns when it is called."""
    what = f"cannot load {path}:{name}"
    if not path.is_file():
        raise OptionError(f"{what}: there is no file {path}; check the path")
    try:
        module = _run(path)
        if not hasattr(module, name):
            raise OptionError(f"{what}: the file has no {name!r}; {_list_factories(module)}")
        made = getattr(module, name)
        if callable(made) and not isinstance(made, nn.Module):
            _check_arguments(what, made)
            made = made()
    except OptionError:
        raise
    # The file is the user's: anything may go wrong in it, and a script may end the process.
    except (Exception, SystemExit) as error:
        raise OptionError(
            f"{what}: {_describe(error, path)}; check that `python {path}` runs, or add --debug "
            "for the traceback"
        ) from error
    if not isinstance(made, nn.Module):
        raise OptionError(
            f"{what}: got {type(made).__name__}, expected a torch.nn.Module; name a function or "
            "class that gives the network"
        )
    return made


def _run(path: Path) -> ModuleType:
    # A name of its own: a file called random.py must not take the place of Python's.
    name = f"_network_file_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # As for a script that is run: what lies beside the file can be imported.
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _list_factories(module: ModuleType) -> str:
    names = [
        key
        for key, value in vars(module).items()
        if key[0] != "_"
        and (isinstance(value, nn.Module) or getattr(value, "__module__", "") == module.__name__)
    ]
    return f"it has {', '.join(names)}" if names else "it defines no function or class"


def _check_arguments(what: str, factory: object) -> None:
    """OptionError for a factory that needs arguments; those in C do not say what they need."""
    try:
        parameters = inspect.signature(factory).parameters.values()  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return
    missing = [
        p.name
        for p in parameters
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    if missing:
        raise OptionError(
            f"{what}: it needs {', '.join(missing)}, expected a factory without arguments; write a "
            "function that calls it with the values that you mean"
        )


def _describe(error: BaseException, path: Path) -> str:
    """The error on one line, with the line of the user's file that it went through."""
    text = " ".join(str(error).split())
    if isinstance(error, SyntaxError):  # its text names the line
        return f"SyntaxError: {text}"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [f.lineno for f in frames if Path(f.filename).resolve() == path.resolve()]
    place = f" (line {lines[-1]})" if lines else ""
    return f"{type(error).__name__}{place}: {text}" if text else f"{type(error).__name__}{place}"
