import subprocess
import sys

import pytest

from co3d import __version__, errors
from co3d.cli import main
from co3d.cli.exit_codes import describe_exit_codes


def test_version(co3d):
    outcome = co3d("--version")
    assert (outcome.code, outcome.out) == (0, f"co3d {__version__}\n")


@pytest.mark.parametrize("command", ["stream", "demo", "models", "explain"])
def test_every_command_explains_itself(co3d, command):
    outcome = co3d(command, "--help")
    assert outcome.code == 0
    assert f"Usage: co3d {command}" in outcome.out
    assert "--debug" in outcome.out


def test_the_help_of_stream_has_examples_and_names_the_exit_codes(co3d):
    text = co3d("stream", "-h").out
    assert "co3d stream match.mp4 --output annotated.mp4" in text
    assert "co3d help exit-codes" in text
    assert co3d("help", "stream").out == text


def test_help_explains_exit_codes(co3d):
    outcome = co3d("help", "exit-codes")
    assert outcome.code == 0
    lines = outcome.out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0] == "  0  Success."
    assert {"130", "141"} <= {line[:3] for line in lines}
    assert "Usage: co3d" in co3d("help").out
    wrong = co3d("help", "exit_codes")
    assert (wrong.code, "expected exit-codes or one of stream" in wrong.err) == (2, True)


def test_completion_can_be_installed(co3d):
    assert "--install-completion" in co3d("--help").out


def test_every_error_class_has_its_own_described_exit_code():
    classes = [
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, errors.Co3dError)
    ]
    codes = [error.exit_code for error in classes]
    assert len(codes) == len(set(codes))
    for code in codes:
        assert f"\n{code:>3}  " in describe_exit_codes()


def test_help_does_not_wait_for_torch():
    script = (
        "import sys\n"
        "from co3d.cli.main import run\n"
        "try:\n"
        "    run(['stream', '--help'])\n"
        "finally:\n"
        "    print(*(name in sys.modules for name in ('torch', 'av', 'numpy')), file=sys.stderr)\n"
    )
    finished = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert finished.stderr.split() == ["False", "False", "False"]


def test_debug_raises_the_error_itself(co3d, tmp_path):
    with pytest.raises(errors.SourceNotFoundError):
        co3d("stream", tmp_path / "absent.mp4", "--debug", "--weights", "random")


def test_debug_is_accepted_before_the_command_too(co3d, tmp_path):
    with pytest.raises(errors.SourceNotFoundError):
        co3d("--debug", "stream", tmp_path / "absent.mp4", "--weights", "random")


def test_a_bug_is_one_line_that_asks_for_a_report(capsys):
    main._report_bug(ZeroDivisionError, ZeroDivisionError("division by zero"), None)
    assert capsys.readouterr().err == (
        "error: unexpected ZeroDivisionError: division by zero; run again with --debug and "
        "report it\n"
    )


def test_a_bug_exits_with_1_and_without_a_traceback():
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import co3d.cli.main as m; m.get_command = lambda app: 1 / 0; m.run([])",
        ],
        stderr=subprocess.PIPE,
        text=True,
    )
    _, printed = process.communicate(timeout=60)
    assert process.returncode == 1
    assert printed.splitlines() == [
        "error: unexpected ZeroDivisionError: division by zero; run again with --debug and "
        "report it"
    ]


def test_traces_hide_passwords(capsys):
    address = "rtsp://me:secret@host/x?token=hidden"
    try:
        try:
            raise OSError(f"refused: {address}")
        except OSError as cause:
            raise errors.DataError("cannot read it") from cause
    except errors.DataError as error:
        main._show_trace(type(error), error, error.__traceback__)
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert "co3d.errors.DataError: cannot read it" in said
    assert "secret" not in said
    assert "hidden" not in said
