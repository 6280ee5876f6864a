"""`python -m co3d` is the `co3d` command."""

from co3d.cli.entry import start

start()
