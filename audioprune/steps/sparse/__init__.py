"""Training into group sparsity, and taking the zero groups out of the model.

The optimisers are in audioprune.optim, the training loop in training/loop.py; which weights belong
to a unit is said by the models.
"""

from audioprune.steps.sparse.train import TrainSparse
from audioprune.steps.sparse.trim import TrimGroups

__all__ = ["TrainSparse", "TrimGroups"]
