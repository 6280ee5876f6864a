"""What is wrong with a data set: every file decoded, every finding written down."""

from co3d.datasets.doctor.accuracy import AccuracyBounds, bound_accuracy
from co3d.datasets.doctor.diagnosis import Diagnosis, Problem, diagnose
from co3d.datasets.doctor.examination import Examination, examine
from co3d.datasets.doctor.rounds import examine_all

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
