"""Labelling on more than one machine: archives, live fleets, and capacity planning."""

from co3d.fleet.archive import ArchiveReport, label_archive
from co3d.fleet.ray_data import RayCluster

__all__ = ["ArchiveReport", "RayCluster", "label_archive"]
