"""The style that all pictures share: colours, axes without a frame, and how they are saved."""

from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from co3d.errors import OptionError
from co3d.files import output_file, require_folder

SUFFIXES = (".svg", ".png", ".pdf")
INK, MUTED, FAINT = "#1d2733", "#5b6878", "#e3e7ec"
"""Colours of titles and names, of axes and notes, and of grids."""

# From Okabe and Ito's palette, whose colours colour-blind readers can tell apart.
BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"


def style_axes(axis: Axes, *, grid: Literal["x", "y", "both"] = "both") -> None:
    """Draw a faint grid behind the data, muted ticks and labels, and no frame at top and right.

    Args:
        grid: which lines the grid has: "x", "y" or "both".
    """
    axis.grid(axis=grid, color=FAINT, linewidth=0.8)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color(MUTED)
    axis.tick_params(which="both", colors=MUTED)
    for text in (axis.xaxis.label, axis.yaxis.label):
        text.set_color(MUTED)


def save_figure(figure: Figure, path: Path, *, dpi: int = 150) -> None:
    """Save a figure as SVG, PNG or PDF by the suffix of its path, complete or not at all.

    Text in an SVG stays text, and equal figures give equal files.

    Raises:
        OutputError: the file cannot be written.
    """
    suffix = path.suffix[1:].lower()
    options: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "co3d"}
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(suffix)
    with output_file(path) as temporary, mpl.rc_context(options):
        figure.savefig(temporary, format=suffix, facecolor="white", dpi=dpi, metadata=metadata)


def check_picture_path(path: Path) -> None:
    """Find out before the work whether a picture can be written there.

    Raises:
        OptionError: a suffix that names no kind of picture.
        OutputError: the folder does not exist.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise OptionError(
            f"cannot draw {path}: got the suffix {path.suffix!r}, expected one of "
            f"{', '.join(SUFFIXES)}; rename the picture"
        )
    require_folder(path)
