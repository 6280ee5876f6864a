"""Check a data set: decode every file, and list every problem."""

from co3d.datasets.doctor.accuracy import AccuracyBounds, bound_accuracy
from co3d.datasets.doctor.diagnosis import Diagnosis, Problem, diagnose
from co3d.datasets.doctor.rounds import examine_all
from co3d.datasets.examination import Examination, examine

__all__ = [
    "AccuracyBounds",
    "Diagnosis",
    "Examination",
    "Problem",
    "bound_accuracy",
    "diagnose",
    "examine",
    "examine_all",
]
