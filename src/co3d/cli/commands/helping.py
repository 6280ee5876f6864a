"""`co3d help` and `co3d docs`: help of commands and topics, and the documentation."""

from typing import Annotated, Any

import typer

from co3d.cli.commands.declared import DEBUG_HINT
from co3d.cli.exit_codes import describe_exit_codes
from co3d.console import warn

help_app = typer.Typer()


@help_app.command("help", epilog=DEBUG_HINT)
def show_help(
    context: typer.Context,
    topic: Annotated[
        str | None, typer.Argument(metavar="[exit-codes|COMMAND]", help="What to explain.")
    ] = None,
) -> None:
    """Explain a command, or the exit codes of all commands."""
    root = context.find_root()
    commands: dict[str, Any] = getattr(root.command, "commands", {})
    if topic == "exit-codes":
        print(describe_exit_codes())
    elif topic is None:
        print(root.get_help())
    elif topic in commands:
        own = commands[topic].make_context(topic, [], parent=root, resilient_parsing=True)
        print(own.get_help())
    else:
        raise typer.BadParameter(
            f"no topic {topic!r}: expected exit-codes or one of {', '.join(commands)}"
        )


@help_app.command("docs", epilog=DEBUG_HINT)
def show_docs(
    page: Annotated[
        str | None, typer.Argument(help="Page to open, `own_network` for example.")
    ] = None,
    prints: Annotated[
        bool, typer.Option("--print", help="Print the page's address, and open no browser.")
    ] = False,
) -> None:
    """Open the documentation in the browser; it needs no network.

    Example: `co3d docs many_cameras`
    """
    from webbrowser import open_new_tab

    from co3d.cli.site import find_page

    address = find_page(page).as_uri()
    print(address)
    if not prints and not open_new_tab(address):
        warn("no browser is found here: open the address above in one")
