"""Outputs from predictions: annotated video, timeline picture, comparison with the truth."""

from co3d.picture_style import check_picture_path
from co3d.report.annotate import annotate_frame
from co3d.report.annotated_video import AnnotatedVideo, annotated_video
from co3d.report.colours import label_colours
from co3d.report.network_picture import draw_network
from co3d.report.timeline import Timeline, timeline_picture
from co3d.report.truth import SegmentAgreement, compare_with_truth, read_truth

__all__ = [
    "AnnotatedVideo",
    "SegmentAgreement",
    "Timeline",
    "annotate_frame",
    "annotated_video",
    "check_picture_path",
    "compare_with_truth",
    "draw_network",
    "label_colours",
    "read_truth",
    "timeline_picture",
]
