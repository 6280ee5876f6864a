"""How data sets lie on disk: a file per layout."""

from co3d.datasets.layouts.select import LAYOUTS, Layout, open_dataset

__all__ = ["LAYOUTS", "Layout", "open_dataset"]
