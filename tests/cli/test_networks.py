"""Which network a command means, and every way in which a user's file can fail to give one."""

import sys
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path

import pytest
from torch import nn

from co3d.cli.networks import convert_network, open_network
from co3d.cli.options import ConversionOptions
from co3d.errors import OptionError, UnknownModelError, WeightError

FILE = '''
import sys

from torch import nn

from co3d import create_model
from layers import WIDTH


class Network(nn.Module):
    def __init__(self, width=WIDTH):
        super().__init__()
        self.conv = nn.Conv3d(3, width, 3, padding=1)

    def forward(self, x):
        return self.conv(x)


def build():
    print("building")
    return Network()


def registered():
    return create_model("camera_motion", weights="random")


made = Network(2)


def sized(width, depth=1):
    return Network(width)


def number():
    return 3


def failing():
    raise RuntimeError("""no data
    here""")


def ending():
    sys.exit("set DATA_DIR first")


def silent():
    sys.exit()


threshold = 0.5
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "networks.py").write_text(FILE)
    (tmp_path / "layers.py").write_text("WIDTH = 4\n")
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("layers", None)


def line_of(text: str) -> int:
    return next(i for i, line in enumerate(FILE.splitlines(), 1) if text in line)


def options(network: str, *clips: str, weights: str | None = None) -> ConversionOptions:
    return ConversionOptions(network, weights, clips, None, "dense", "frame", False, False)


def test_a_registered_network_brings_its_clip() -> None:
    model, shapes = open_network(options("camera_motion"))
    assert shapes == [model.card.clip_shape]
    assert open_network(options("camera_motion", "3,4,32,32"))[1] == [(3, 4, 32, 32)]


@pytest.mark.parametrize(("name", "width"), [("build", 4), ("Network", 4), ("made", 2)])
def test_functions_classes_and_modules_give_networks(folder: Path, name: str, width: int) -> None:
    model, shapes = open_network(options(f"{folder}/networks.py:{name}", "3,4,8,8"))
    assert isinstance(model, nn.Module)
    assert not model.training
    assert model.conv.out_channels == width
    assert shapes == [(3, 4, 8, 8)]


def test_a_file_may_build_registered_networks(folder: Path) -> None:
    model, shapes = open_network(options(f"{folder}/networks.py:registered"))
    assert shapes == [model.card.clip_shape]


def test_what_the_file_prints_goes_to_standard_error(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program, _ = convert_network(options(f"{folder}/networks.py:build", "3,4,8,8"))
    assert program.delay == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "building" in printed.err


def test_a_file_named_like_a_module_does_not_replace_it(tmp_path: Path) -> None:
    import random

    (tmp_path / "random.py").write_text("from torch import nn\nbuild = nn.ReLU\n")
    open_network(options(f"{tmp_path}/random.py:build", "3,4,8,8"))
    assert sys.modules["random"] is random
    # Nor in a process that has not imported it yet, as those of the sandbox are.
    found = PathFinder.find_spec("random")
    assert found is not None
    assert found.origin == random.__file__


@pytest.mark.parametrize(
    ("name", "fragments"),
    [
        ("absent", ("no 'absent'", "it has Network, build, registered, made, sized, number")),
        ("", ("no ''",)),
        ("threshold", ("got float, expected a torch.nn.Module",)),
        ("number", ("got int, expected a torch.nn.Module",)),
        ("sized", ("it needs width, expected a factory without arguments",)),
        ("failing", (f"RuntimeError (line {line_of('raise')}): no data here;", "--debug")),
        ("ending", (f"SystemExit (line {line_of('DATA_DIR')}): set DATA_DIR first;",)),
        ("silent", (f"SystemExit (line {line_of('exit()')});",)),
    ],
)
def test_files_that_give_no_network(folder: Path, name: str, fragments: tuple[str, ...]) -> None:
    with pytest.raises(OptionError) as error:
        open_network(options(f"{folder}/networks.py:{name}", "3,4,8,8"))
    (message,) = str(error.value).splitlines()
    assert message.startswith(f"cannot load {folder}/networks.py:{name}: ")
    for fragment in fragments:
        assert fragment in message


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("def build(:", "SyntaxError: "),
        ("import no_such_package", "ModuleNotFoundError (line 1): No module named"),
        ("x = 3", "it defines no function or class"),
    ],
)
def test_files_that_do_not_run(tmp_path: Path, text: str, fragment: str) -> None:
    (tmp_path / "broken.py").write_text(text + "\n")
    with pytest.raises(OptionError, match="cannot load") as error:
        open_network(options(f"{tmp_path}/broken.py:build", "3,4,8,8"))
    assert fragment in str(error.value)


def test_an_absent_file(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"there is no file .*; check the path"):
        open_network(options(f"{tmp_path}/absent.py:build"))


@pytest.mark.parametrize("network", ["networks.py", "networks:build", ":build", "a.txt:build"])
def test_an_incomplete_file_network_is_refused(network: str) -> None:
    with pytest.raises(OptionError, match=r"expected FILE\.py:FACTORY"):
        open_network(options(network))


def test_unknown_names_suggest_the_nearest_name() -> None:
    with pytest.raises(UnknownModelError, match="x3d_m"):
        open_network(options("x3d_n"))


def test_a_clip_must_be_given(folder: Path) -> None:
    with pytest.raises(OptionError, match="give --clip C,T,H,W"):
        open_network(options(f"{folder}/networks.py:build"))


@pytest.mark.parametrize("clip", ["3,6,8", "3,6,8,8,8", "a,6,8,8", "", "3;6;8;8"])
def test_a_clip_is_four_numbers(clip: str) -> None:
    with pytest.raises(OptionError, match="expected C,T,H,W"):
        open_network(options("camera_motion", clip))


def test_weights_that_are_not_there(folder: Path) -> None:
    with pytest.raises(WeightError, match=r"absent\.pth"):
        open_network(options(f"{folder}/networks.py:build", "3,4,8,8", weights="absent.pth"))
