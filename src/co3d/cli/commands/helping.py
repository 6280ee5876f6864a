"""`co3d help`: what several commands have in common."""

from typing import Annotated, Any

import typer

from co3d.cli.commands.declared import DEBUG_HINT
from co3d.cli.exit_codes import describe_exit_codes

help_app = typer.Typer()


@help_app.command("help", epilog=DEBUG_HINT)
def show_help(
    context: typer.Context,
    topic: Annotated[
        str | None, typer.Argument(metavar="[exit-codes|COMMAND]", help="What to explain.")
    ] = None,
) -> None:
    """Explain a command, or what the exit codes of all commands mean."""
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
