"""Networks that a user's file builds: FILE.py:FACTORY."""

import contextlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from torch import nn

from co3d.errors import OptionError
from co3d.models.card import find_card
from co3d.models.description import read_description
from co3d.models.part_head import find_classifier, resize_outputs
from co3d.weights.checkpoints import read_checkpoint
from co3d.weights.load import count_outputs, load_weights


def is_file_network(name: str) -> bool:
    """Whether a network's name means one that a user's file builds."""
    return ":" in name or name.endswith(".py")


def build_network(name: str, weights: str | None) -> nn.Module:
    """Run `file.py:factory`, a file that the user trusts, and load weights into what it gives.

    A network with a card gets as many classes as the weights have, and the names that they bring.

    Raises:
        OptionError: no such file or factory. WeightError: the weights do not fit.
    """
    path, _, factory = name.rpartition(":")
    if not path.endswith(".py"):
        raise OptionError(
            f"cannot load {name}: got no factory or no Python file, expected FILE.py:FACTORY, e.g. "
            "my_network.py:build, or a name that `co3d models` lists"
        )
    with redirect_prints():
        network = _build(Path(path), factory)
    if weights is not None:
        _load(network, weights)
    return network.eval()


@contextlib.contextmanager
def redirect_prints() -> Iterator[None]:
    """Redirect what a user's network prints to standard error: standard output is the command's."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


def _load(network: nn.Module, weights: str) -> None:
    """Load a checkpoint, with its classes and their names where a card says how to find them."""
    checkpoint = read_checkpoint(weights)
    card = find_card(network)
    layer = card and find_classifier(network)
    if card is None or layer is None:
        load_weights(network, checkpoint)
    else:
        classes = count_outputs(checkpoint, card.classifier) or len(layer.weight)
        if classes != len(layer.weight):
            resize_outputs(network, classes)
        load_weights(network, checkpoint)
        card = find_card(network) or card
        network.card = cast(Any, read_description(checkpoint, card, classes))


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
    # The file can import its neighbours. They come after Python's own modules and installed ones,
    # since a process that reads videos in a sandbox finds its modules in the same places.
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)
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
