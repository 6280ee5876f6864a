"""The documentation site: where an install has it."""

from difflib import get_close_matches
from pathlib import Path

from co3d.errors import OptionError

_PACKAGE = Path(__file__).parents[1]
PLACES = (_PACKAGE / "site", _PACKAGE.parents[1] / "dist" / "docs")
"""In a wheel of `make wheel`, and in a clone after `make docs`."""


def find_page(name: str | None) -> Path:
    """The HTML file of a page.

    Args:
        name: as in its address, without the suffix, "own_network" for example; None for the first
            page.

    Raises:
        OptionError: the site is not there, or has no such page.
    """
    site = next((place for place in PLACES if (place / "index.html").is_file()), None)
    if site is None:
        raise OptionError(
            "cannot show the documentation: this install has none; build it in a clone with `make "
            "docs`, or install a wheel of `make wheel`"
        )
    pages = {path.relative_to(site).with_suffix("").as_posix(): path for path in _list_pages(site)}
    page = pages.get("index" if name is None else name)
    if page is None:
        near = get_close_matches(str(name), pages, cutoff=0.4)
        known = near or sorted(pages)
        raise OptionError(f"cannot show {name!r}: expected a page, {', '.join(known)} for example")
    return page


def _list_pages(site: Path) -> list[Path]:
    return [path for path in site.rglob("*.html") if not path.name.startswith(("genindex", "_"))]
