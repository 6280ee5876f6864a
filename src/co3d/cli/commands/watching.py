"""`co3d watch`."""

from pathlib import Path
from typing import Annotated

import typer

from co3d.cli.commands.declared import DEBUG_HINT, SandboxOption

WATCH_EPILOG = """
**A fleet file**

```
network:
  model: camera_motion  # also weights, window, backend, precision, device
defaults:
  rate_hz: 8            # anything that a camera may say
cameras:
  - name: door
    source: rtsp://user:${DOOR_PASSWORD}@10.0.0.5/stream
    priority: 1         # also policy, gap, rotate, flip, crop, top,
  - name: yard          # smooth_seconds, reconnect_seconds, ...
    source: 0
    threshold: 0.5
rules:                  # make events of labels; see docs/events.md
  - name: falls
    labels: [falling]
    threshold: 0.7
outputs:                # also folder, command, webhook, mqtt
  - {name: lines, type: json, path: events.jsonl}
```

`${NAME}` is an environment variable, `${file:PATH}` the first line of a file.

**Examples**

```
co3d watch fleet.yaml
co3d watch fleet.yaml --check
co3d watch fleet.yaml --state state/
taskset --cpu-list 0-7 co3d watch fleet.yaml --part 1/2
co3d watch fleet.yaml --json | jq 'select(.camera == "door")'
```
"""

watching_app = typer.Typer()


@watching_app.command(epilog="\n\n".join((WATCH_EPILOG, DEBUG_HINT)))
def watch(
    fleet: Annotated[Path, typer.Argument(metavar="FLEET.YAML", help="The cameras to label.")],
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Open each source once, measure what it costs, and say whether all fit this "
            "machine (exit code 38 where they do not); try outputs without sending an event.",
        ),
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print one object a line, as `co3d stream` does of several."),
    ] = False,
    state: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Save the states of live cameras there when Ctrl-C or SIGTERM ends it, and "
            "continue from them at the next start, without warm-up if the time between is no gap "
            "(with `gap: keep` up to 10 s).",
        ),
    ] = None,
    part: Annotated[
        str | None,
        typer.Option(
            metavar="K/N",
            help="Label every N-th camera, from the K-th: one of N processes, each for a group of "
            "cores, since one process is limited by Python's lock.",
        ),
    ] = None,
    _sandbox: SandboxOption = False,
) -> None:
    """Label many cameras at once, a row for each.

    Rules make events of labels, which are stored and delivered to outputs.

    The file is reloaded whenever it changes; unchanged cameras continue undisturbed.
    Ctrl-C ends it.
    """
    from co3d.cli.watch import watch_fleet

    raise typer.Exit(watch_fleet(fleet, is_check=check, as_json=as_json, state=state, part=part))
