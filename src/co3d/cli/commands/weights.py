"""`co3d weights`: find, fetch, check and convert checkpoints.

Published weights are named MODEL/TAG, such as x3d_m/kinetics400, because models share tags.
"""

from pathlib import Path
from typing import Annotated

import typer

from co3d.cli.commands.declared import SandboxOption

EPILOG = """
**Examples**

```
co3d weights list
co3d weights info slow_r50/charades157
co3d weights download x3d_s/kinetics400 x3d_m/kinetics400
co3d weights verify --json | jq '.[] | select(.state != "absent")'
co3d weights inspect checkpoint.pyth
co3d weights import SLOWFAST_8x8_R50.pkl --model slowfast_r50_8x8 --output slowfast.safetensors
```

Downloads lie in the platform's cache folder, or in the one that `CO3D_CACHE` names.
"""

weights_app = typer.Typer(
    help="Find, fetch, check and convert checkpoints.",
    epilog=EPILOG,
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
Tag = Annotated[str, typer.Argument(metavar="MODEL/TAG", help="As `co3d weights list` names it.")]
Tags = Annotated[
    list[str], typer.Argument(metavar="MODEL/TAG...", help="As `co3d weights list` names them.")
]
File = Annotated[Path, typer.Argument(help="A checkpoint in any container that co3d reads.")]


@weights_app.command("list")
def list_published(as_json: Json = False) -> None:
    """List the published weights, and which of them are in the cache.

    Example: `co3d weights list`
    """
    from co3d.cli.weights_output import print_list

    print_list(as_json=as_json)


@weights_app.command()
def info(tag: Tag, as_json: Json = False) -> None:
    """Show what is known of published weights: address, licence, accuracy, classes, cache path.

    Example: `co3d weights info x3d_m/kinetics400`
    """
    from co3d.cli.weights_output import print_info

    print_info(tag, as_json=as_json)


@weights_app.command()
def download(tags: Tags, as_json: Json = False) -> None:
    """Download published weights into the cache, and print where they are.

    Example: `co3d weights download x3d_s/kinetics400 r2plus1d_18/kinetics400`
    """
    from co3d.cli.weights_output import download_all

    download_all(tags, as_json=as_json)


@weights_app.command()
def verify(as_json: Json = False) -> None:
    """Check every file in the cache: length and hash where known, keys, shapes, finite values.

    Example: `co3d weights verify`
    """
    from co3d.cli.weights_output import verify_cache

    verify_cache(as_json=as_json)


@weights_app.command("import")
def import_file(
    file: File,
    model: Annotated[str, typer.Option(help="Its network: see `co3d models`.")],
    output: Annotated[Path, typer.Option(help="The file to write, in safetensors.")],
    as_json: Json = False,
    _sandbox: SandboxOption = False,
) -> None:
    """Convert a checkpoint to safetensors with our names, class names and activation in it.

    Example: `co3d weights import x3d_m.pyth --model x3d_m --output x3d_m.safetensors`
    """
    from co3d.cli.weights_output import import_checkpoint

    import_checkpoint(file, model, output, as_json=as_json)


@weights_app.command()
def inspect(file: File, as_json: Json = False, _sandbox: SandboxOption = False) -> None:
    """Show what a checkpoint holds and which network it fits, without running anything in it.

    Example: `co3d weights inspect checkpoint.pyth`
    """
    from co3d.cli.weights_output import print_inspection

    print_inspection(file, as_json=as_json)
