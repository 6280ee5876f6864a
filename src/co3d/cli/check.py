"""`co3d check`: a proof in exact arithmetic, or a comparison of precisions on real streams."""

from co3d.cli.options import CheckOptions, ConversionOptions
from co3d.errors import OptionError


def check_network(options: ConversionOptions, chosen: CheckOptions) -> int:
    """Prove that steps equal clips or, if backends are named, compare the backends.

    Returns:
        The exit code.

    Raises:
        ParityError: steps differ from clips, or a backend in float32 differs from float64.
        OptionError: an option is out of range, or belongs to the other comparison.
        ConversionError: the network cannot be converted.
    """
    if chosen.backends:
        from co3d.cli.precisions import check_precisions

        given = {"--lengths": chosen.lengths is not None, "--all": chosen.show_all}
        _refuse(given, "compares clips with steps, which --backend does not: leave one out")
        return check_precisions(options, chosen)
    from co3d.cli.proof import prove_steps

    given = {
        "--video": bool(chosen.videos),
        "--frames": chosen.frames is not None,
        "--device": chosen.device != "cpu",
    }
    _refuse(given, "is for a comparison of backends: add --backend, e.g. --backend all")
    prove_steps(options, chosen)
    return 0


def _refuse(given: dict[str, bool], why: str) -> None:
    for option, is_given in given.items():
        if is_given:
            raise OptionError(f"cannot check with {option}: it {why}")
