"""The command line: its commands, and errors as one line with an exit code.

Commands import what they need when they run, so that `co3d --help` does not wait for torch.
"""

import logging
import os
import sys
from traceback import format_exception
from types import TracebackType
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from co3d import __version__
from co3d.cli.commands.data import data_app
from co3d.cli.commands.declared import DEBUG_HINT
from co3d.cli.commands.evaluation import evaluation_app
from co3d.cli.commands.fleet import fleet_app
from co3d.cli.commands.helping import help_app
from co3d.cli.commands.networks import networks_app
from co3d.cli.commands.serving import serving_app
from co3d.cli.commands.streaming import streaming_app
from co3d.cli.commands.training import training_app
from co3d.cli.commands.watching import watching_app
from co3d.cli.commands.weights import weights_app
from co3d.cli.exit_codes import STOPPED
from co3d.cli.interrupts import interrupt_on_signals, is_interrupt
from co3d.cli.standard_streams import standard_streams
from co3d.console import hide_secrets, warn
from co3d.environment import ignore_settings_here, load_environment
from co3d.errors import Co3dError
from co3d.printable import PrintableFormatter


class _Commands(TyperGroup):
    """Removes secrets in addresses from error messages about the command line."""

    def invoke(self, ctx: Any) -> Any:
        """See `TyperGroup`."""
        try:
            return super().invoke(ctx)
        except Exception as error:
            if hasattr(error, "format_message"):  # an error about the command line
                error.message = hide_secrets(error.message)  # type: ignore[attr-defined]
            raise


app = typer.Typer(
    cls=_Commands,
    help="Networks trained on clips see video one frame at a time.",
    epilog=DEBUG_HINT,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="markdown",
)


def _print_version(requested: bool) -> None:
    if requested:
        print(f"co3d {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Declare the options that come before the command."""


app.add_typer(streaming_app)
app.add_typer(watching_app)
app.add_typer(serving_app)
app.add_typer(networks_app)
app.add_typer(evaluation_app)
app.add_typer(fleet_app)
app.add_typer(training_app)
app.add_typer(weights_app, name="weights")
app.add_typer(data_app, name="data")
app.add_typer(help_app)


def run(arguments: list[str] | None = None) -> None:
    """Entry point: run a command and exit with its code.

    Args:
        arguments: the command line without the program's name; None takes the process's own.

    Raises:
        SystemExit: always; its code is one of those that `co3d help exit-codes` lists.
    """
    # Python processes that a command starts must not import from the working folder, which may
    # belong to anybody.
    os.environ.setdefault("PYTHONSAFEPATH", "1")
    given = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in given
    if logging.lastResort is not None:  # prints warnings of loggers without a handler
        logging.lastResort.setFormatter(PrintableFormatter())
    sys.excepthook = _show_trace if debug else _report_bug
    try:
        with interrupt_on_signals(), standard_streams():
            load_environment()
            ignore_settings_here()
            get_command(app)([word for word in given if word != "--debug"], prog_name="co3d")
    except Co3dError as error:
        if debug:
            raise
        warn(f"error: {error}")
        sys.exit(error.exit_code)
    except (Exception, KeyboardInterrupt) as error:
        if debug or not is_interrupt(error):
            raise
        sys.exit(STOPPED)


def _show_trace(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Print a traceback as Python does, without secrets in addresses that libraries quote."""
    warn("".join(format_exception(kind, error, trace)).rstrip())


def _report_bug(
    kind: type[BaseException], error: BaseException, _trace: TracebackType | None
) -> None:
    warn(f"error: unexpected {kind.__name__}: {error}; run again with --debug and report it")
