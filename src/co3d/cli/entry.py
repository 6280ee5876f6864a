"""The entry point of `co3d`: Ctrl-C and SIGTERM end it quietly even during the first imports."""

import sys

from co3d.cli.exit_codes import STOPPED
from co3d.cli.interrupts import CleanEnd


def start() -> None:
    """Run the command line; see `co3d.cli.main.run`."""
    clean_end = CleanEnd()
    code: object = STOPPED
    try:
        from co3d.cli.main import run

        run()
    except SystemExit as end:
        code = end.code
    except KeyboardInterrupt:  # outside of `run`
        pass
    clean_end.finish(code if isinstance(code, int) else int(code is not None))
    sys.exit(clean_end.code)
