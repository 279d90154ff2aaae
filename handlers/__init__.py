"""Handlers of MONAI's engines: metrics, checkpoints, progress, records."""

from __future__ import annotations

from tinylesions.handlers.batch_norm_statistics import BatchNormStatistics
from tinylesions.handlers.checkpoints import BestModel, TrainingCheckpoint, load_finished_training, save_state
from tinylesions.handlers.class_score_table import ClassScoreTable
from tinylesions.handlers.class_scores import ClassScores
from tinylesions.handlers.class_weights_table import write_class_weights
from tinylesions.handlers.ema import ExponentialMovingAverage
from tinylesions.handlers.epoch_seed import EpochSeed
from tinylesions.handlers.final_validation import IntervalAndFinalValidation
from tinylesions.handlers.free_response import FreeResponse
from tinylesions.handlers.freed_memory import keep_freed_memory
from tinylesions.handlers.grading_scores import GradingScores
from tinylesions.handlers.hard_pixels import HardPixels
from tinylesions.handlers.last_model import LastModel
from tinylesions.handlers.metrics_log import MetricsLog
from tinylesions.handlers.negative_share_schedule import NegativeShareSchedule, negative_share
from tinylesions.handlers.nuclei_quality import NucleiQuality
from tinylesions.handlers.operating_points import OperatingPoints
from tinylesions.handlers.overlap import Overlap
from tinylesions.handlers.pixel_average_precision import PixelAveragePrecision
from tinylesions.handlers.pixel_break_even import PixelBreakEven
from tinylesions.handlers.pixel_protocols import PixelProtocols
from tinylesions.handlers.prepare_tasks import PrepareTasks
from tinylesions.handlers.progress import Progress
from tinylesions.handlers.pseudo_labels import PseudoGrades, without_twins, write_pseudo_labelled
from tinylesions.handlers.run_for_each import run_for_each
from tinylesions.handlers.run_record import git_revision, record_run
from tinylesions.handlers.score_table import ScoreTable, integrate_outputs, score_table
from tinylesions.handlers.true_labels import true_labels

__all__ = [
    "BatchNormStatistics",
    "BestModel",
    "ClassScoreTable",
    "ClassScores",
    "EpochSeed",
    "ExponentialMovingAverage",
    "FreeResponse",
    "GradingScores",
    "HardPixels",
    "IntervalAndFinalValidation",
    "LastModel",
    "MetricsLog",
    "NegativeShareSchedule",
    "NucleiQuality",
    "OperatingPoints",
    "Overlap",
    "PixelAveragePrecision",
    "PixelBreakEven",
    "PixelProtocols",
    "PrepareTasks",
    "Progress",
    "PseudoGrades",
    "ScoreTable",
    "TrainingCheckpoint",
    "git_revision",
    "integrate_outputs",
    "keep_freed_memory",
    "load_finished_training",
    "negative_share",
    "record_run",
    "run_for_each",
    "save_state",
    "score_table",
    "true_labels",
    "without_twins",
    "write_class_weights",
    "write_pseudo_labelled",
]
