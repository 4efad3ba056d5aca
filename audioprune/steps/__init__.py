"""The vocabulary of pipelines: what can be done to a model before it enters a table.

Each step is a small value that a YAML names as ``audioprune.steps.<Name>``; it alone changes a
run. The algorithms are in audioprune.compress, the training loop in training/loop.py.
"""

from audioprune.steps.baseline import SameSizeBaseline
from audioprune.steps.control import Repeat
from audioprune.steps.curves import SensitivityCurves
from audioprune.steps.evaluate import Evaluate
from audioprune.steps.fit_budget import FitBudget
from audioprune.steps.lottery import LotteryEvaluate, LotteryPrune, LotteryTrain, Rewind
from audioprune.steps.prune import Prune, PruneUnits, SensitivityPrune, Trim
from audioprune.steps.quantize import FinetuneQuantized, Quantize, Recalibrate
from audioprune.steps.scheduled import PruneScheduled, TrainScheduled
from audioprune.steps.sparse import TrainSparse, TrimGroups
from audioprune.steps.summary import SummarizeWeights
from audioprune.steps.train import Train

__all__ = [
    "Evaluate",
    "FinetuneQuantized",
    "FitBudget",
    "LotteryEvaluate",
    "LotteryPrune",
    "LotteryTrain",
    "Prune",
    "PruneScheduled",
    "PruneUnits",
    "Quantize",
    "Recalibrate",
    "Repeat",
    "Rewind",
    "SameSizeBaseline",
    "SensitivityCurves",
    "SensitivityPrune",
    "SummarizeWeights",
    "Train",
    "TrainScheduled",
    "TrainSparse",
    "Trim",
    "TrimGroups",
]
