"""Which network a command means: a registered one, or one that a user's file builds."""

import importlib.util
import sys
from pathlib import Path

from torch import nn

from co3d.cli.options import ConversionOptions
from co3d.errors import OptionError
from co3d.models import ClipModel, create_model
from co3d.stream import StepProgram, convert
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
    path, separator, factory = options.network.rpartition(":")
    shapes = [_parse_clip(text) for text in options.clips]
    if not separator or not path.endswith(".py"):
        model = create_model(options.network, weights=options.weights)
        return model, shapes or [model.card.clip_shape]
    network = _call_factory(Path(path), factory)
    if options.weights is not None:
        load_weights(network, options.weights)
    if not shapes and isinstance(network, ClipModel):
        shapes = [network.card.clip_shape]
    if not shapes:
        raise OptionError(
            f"cannot convert {options.network}: its clip shape is not known; give --clip C,T,H,W, "
            "e.g. --clip 3,16,112,112"
        )
    return network.eval(), shapes


def convert_network(options: ConversionOptions) -> tuple[StepProgram, list[ClipShape]]:
    """Build and convert a network; returns the clips for which, too."""
    model, shapes = open_network(options)
    program = convert(
        model,
        shapes,
        window=options.window,
        rate=options.rate,
        scope=options.scope,
        fallback=options.fallback,
        spread=options.spread,
    )
    return program, shapes


def _parse_clip(text: str) -> ClipShape:
    try:
        shape = tuple(int(size) for size in text.split(","))
    except ValueError:
        shape = ()
    if len(shape) != 4:
        raise OptionError(f"cannot read --clip {text!r}: expected C,T,H,W, e.g. 3,16,112,112")
    return shape


def _call_factory(path: Path, name: str) -> nn.Module:
    if not path.is_file():
        raise OptionError(f"cannot load {path}:{name}: there is no file {path}; check the path")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # As for a script that is run: what lies beside the file can be imported.
    sys.path.insert(0, str(path.resolve().parent))
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
        made = getattr(module, name)()
    except AttributeError as error:
        if hasattr(module, name):
            raise _explain(path, name, error) from error
        names = [key for key, value in vars(module).items() if callable(value) and key[0] != "_"]
        raise OptionError(
            f"cannot load {path}:{name}: the file has no {name!r}; it has {', '.join(names)}"
        ) from error
    except Exception as error:  # the file is the user's: anything may go wrong in it
        raise _explain(path, name, error) from error
    finally:
        sys.path.pop(0)
    if not isinstance(made, nn.Module):
        raise OptionError(
            f"cannot load {path}:{name}: it returned {type(made).__name__}, expected a "
            "torch.nn.Module; name a function or class without arguments that gives the network"
        )
    return made


def _explain(path: Path, name: str, error: Exception) -> OptionError:
    return OptionError(
        f"cannot load {path}:{name}: {type(error).__name__}: {error}; add --debug for its traceback"
    )
