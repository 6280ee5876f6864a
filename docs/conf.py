"""Settings of the documentation site: `make docs` builds it into dist/docs."""

from sphinx.application import Sphinx

import co3d

project = "co3d"
version = release = co3d.__version__
copyright = "the co3d authors"  # noqa: A001 - Sphinx's own name

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]

# Links to headings, as GitHub spells them.
myst_heading_anchors = 4

# In docstrings, `name` is code as it is in Markdown.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 80
napoleon_use_ivar = True

html_theme = "furo"
html_title = "co3d"
html_copy_source = False
html_theme_options = {"sidebar_hide_name": False}
# Languages of code blocks that Pygments does not know are shown as they are.
# The headings of pages of results begin at the third level.
suppress_warnings = ["misc.highlighting_failure", "myst.header"]


def setup(app: Sphinx) -> None:
    """Give pages of results, which commands write without a title, one to be listed by."""
    app.connect("source-read", add_title)


def add_title(_app: Sphinx, name: str, source: list[str]) -> None:
    """Put the page's name above it, unless it begins with a heading."""
    if not source[0].lstrip().startswith("# "):
        source[0] = f"# {name.replace('_', ' ')}\n\n{source[0]}"
