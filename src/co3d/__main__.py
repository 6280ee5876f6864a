"""`python -m co3d` is the `co3d` command."""

from co3d.cli.main import run

run()
