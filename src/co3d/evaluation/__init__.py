"""Accuracy of networks on data sets, as clips and as streams; features of their layers."""

from co3d.evaluation.clip_mode import ClipEvaluator
from co3d.evaluation.jobs import Job, make_jobs
from co3d.evaluation.layer import LayerFeatures
from co3d.evaluation.metrics import measure_multi_label, measure_single_label
from co3d.evaluation.records import FrameTrace, VideoRecord
from co3d.evaluation.report import write_report
from co3d.evaluation.run import run_jobs
from co3d.evaluation.stream_mode import StreamEvaluator
from co3d.evaluation.summary import Summary, summarise

__all__ = [
    "ClipEvaluator",
    "FrameTrace",
    "Job",
    "LayerFeatures",
    "StreamEvaluator",
    "Summary",
    "VideoRecord",
    "make_jobs",
    "measure_multi_label",
    "measure_single_label",
    "run_jobs",
    "summarise",
    "write_report",
]
