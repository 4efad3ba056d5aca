"""The steps of a lottery: train, draw a ticket, go back to early weights, train again, measure.

They share ``run.findings.lottery``. Which units or weights stay is decided in
audioprune.compress.lottery; repetition is that of steps/control.py.
"""

from audioprune.steps.lottery.evaluate import LotteryEvaluate
from audioprune.steps.lottery.prune import LotteryPrune
from audioprune.steps.lottery.rewind import Rewind
from audioprune.steps.lottery.train import LotteryTrain

__all__ = ["LotteryEvaluate", "LotteryPrune", "LotteryTrain", "Rewind"]
