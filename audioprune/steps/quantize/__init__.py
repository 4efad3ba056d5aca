"""The steps that give weights few values, and what belongs to it.

``Quantize`` chooses and rounds (choose.py), ``FinetuneQuantized`` trains with rounded weights
(finetune.py, straight_through.py), ``Recalibrate`` measures batch normalisations anew
(recalibrate.py). The arithmetic is in audioprune.compress.quantize.
"""

from audioprune.steps.quantize.choose import Quantize
from audioprune.steps.quantize.finetune import FinetuneQuantized
from audioprune.steps.quantize.recalibrate import Recalibrate

__all__ = ["FinetuneQuantized", "Quantize", "Recalibrate"]
