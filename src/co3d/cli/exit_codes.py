"""The exit codes of the command line, as `co3d help exit-codes` prints them."""

import textwrap

from co3d import errors

SUCCESS, BUG, STOPPED, PIPE_CLOSED = 0, 1, 130, 141


def describe_exit_codes() -> str:
    """The exit codes in lines of at most 80 columns, taken from the error classes."""
    codes = {SUCCESS: "Success.", BUG: "A bug of ours; run again with --debug and report it."}
    for error in vars(errors).values():
        if isinstance(error, type) and error.__module__ == errors.__name__:
            codes.setdefault(error.exit_code, (error.__doc__ or "").strip())
    codes[STOPPED] = "Stopped by Ctrl-C, SIGTERM or SIGHUP; the outputs hold what came before."
    codes[PIPE_CLOSED] = "Whoever read standard output went away (`| head`)."
    return "\n".join(
        textwrap.fill(meaning, 80, initial_indent=f"{code:>3}  ", subsequent_indent=" " * 5)
        for code, meaning in sorted(codes.items())
    )
