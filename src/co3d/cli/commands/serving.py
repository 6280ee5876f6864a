"""`co3d serve` and `co3d token`."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Literal

import typer

from co3d.cli.commands.declared import DEBUG_HINT, LabelsOption

SERVE_EPILOG = """
**Examples**

```
co3d serve                 # your own camera, in a browser on this machine
co3d serve fleet.yaml      # the cameras of `co3d watch`, on a wall
co3d serve fleet.yaml --tokens tokens.json --behind-proxy https://cameras.example.org
co3d serve --host 0.0.0.0 --tokens tokens.json --tls-certificate cert.pem --tls-key key.pem
co3d serve fleet.yaml --allow-source rtsp://10.0.0.0/8   # operators may add such cameras
```
"""

serving_app = typer.Typer()


@serving_app.command(epilog="\n\n".join((SERVE_EPILOG, DEBUG_HINT)))
def serve(
    fleet: Annotated[
        Path | None,
        typer.Argument(metavar="[FLEET.YAML]", help="Cameras to label, as for `co3d watch`."),
    ] = None,
    model: Annotated[
        str, typer.Option(help="A network or an exported file; a fleet file names its own.")
    ] = "camera_motion",
    weights: Annotated[str | None, typer.Option(help="A tag or a path.")] = None,
    labels: LabelsOption = None,
    host: Annotated[
        str, typer.Option(help="Where to listen; beyond this machine needs tokens and TLS.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Where to listen; 0 takes a free one.")] = 8700,
    tokens: Annotated[
        Path | None, typer.Option(help="Who may do what: a file that `co3d token` writes.")
    ] = None,
    tls_certificate: Annotated[Path | None, typer.Option(help="A PEM file.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="A PEM file.")] = None,
    behind_proxy: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="The address of a reverse proxy on this machine, as browsers see it.",
        ),
    ] = None,
    allow_source: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SCHEME://NETWORK",
            help="Sources that operators may add, such as rtsp://10.0.0.0/8.",
        ),
    ] = None,
    ice_server: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="For WebRTC beyond this network, as stun:host:port."),
    ] = None,
    events: Annotated[
        Path | None, typer.Option(help="The folder in which `co3d watch` stores events.")
    ] = None,
    sandbox: Annotated[
        bool,
        typer.Option(
            "--sandbox/--no-sandbox",
            help="Read checkpoints and cameras in separate processes, one for each camera.",
        ),
    ] = True,
    state: Annotated[
        Path | None, typer.Option(help="A folder in which added cameras survive a restart.")
    ] = None,
) -> None:
    """Label video in the browser: the visitor's own camera, or a wall of cameras.

    It can only be reached from this machine, unless --host is given. Ctrl-C ends it.
    """
    from co3d import __version__
    from co3d.cli.serve import serve_network
    from co3d.sandbox import read_in_sandbox
    from co3d.serving.settings import ServerSettings

    settings = ServerSettings(
        host=host,
        port=port,
        fleet=fleet,
        tokens=tokens,
        certificate=tls_certificate,
        key=tls_key,
        public_url=behind_proxy,
        allowed_sources=tuple(allow_source or ()),
        ice_servers=tuple(ice_server or ()),
        state=state,
        events=events,
        version=__version__,
    )
    with read_in_sandbox() if sandbox else nullcontext():
        serve_network(settings, model, weights, labels)


@serving_app.command(epilog=DEBUG_HINT)
def token(
    name: Annotated[str, typer.Argument(help="Whose it is.")],
    tokens: Annotated[Path, typer.Option(help="The file; it is made if absent.")],
    role: Annotated[
        Literal["viewer", "operator", "admin"],
        typer.Option(help="Viewers see, operators change cameras, admins read network states."),
    ] = "viewer",
) -> None:
    """Make a token for `co3d serve`, and print it once; the file stores its hash.

    A second one of that name replaces the first. A running server reloads the file.
    """
    from co3d.console import say
    from co3d.serving.tokens import add_token

    say(add_token(tokens, name, role))
