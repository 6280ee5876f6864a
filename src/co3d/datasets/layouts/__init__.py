"""How data sets lie on disk: a file per layout."""

from co3d.datasets.layouts.select import LAYOUTS, open_dataset, open_evaluation_split
from co3d.datasets.layouts.splits import ALL, describe_splits

__all__ = ["ALL", "LAYOUTS", "describe_splits", "open_dataset", "open_evaluation_split"]
