"""Where the `co3d` command begins: Ctrl-C and SIGTERM end it quietly from its first import on."""

from co3d.cli.interrupts import interrupt_on_signals


def start() -> None:
    """Run the command line; see `co3d.cli.main.run`."""
    with interrupt_on_signals():
        from co3d.cli.main import run

        run()
