"""Which keys the pipelines have, and their defaults.

The YAML of a pipeline hands each key to an argument of a step: ``sparsity: ${pipeline.sparsity}``
below ``audioprune.steps.Prune``. Type, range and meaning are read from that argument. An attribute
with an annotation is said here instead. `scripts/write_schema.py` reads this module.
"""

from __future__ import annotations

from typing import Annotated, Any

from audioprune.ranges import Range


class PipelineConfig:
    """Keys of every pipeline.

    Attributes:
        name: Name in run folders and tables.
        steps: What is done, in this order.
    """

    name: str = "???"
    steps: dict[str, Any] = {}


class TrainPipelineConfig(PipelineConfig):
    """Train, write the model, score the file."""

    lambda_1 = 0.0


class QuantizePipelineConfig(PipelineConfig):
    """Cluster the weights of a trained model, pack and score it."""

    levels = None
    alpha_2 = None
    alpha_2_relative = 0.005
    sensitivity_items = None


class P2PipelineConfig(QuantizePipelineConfig):
    """Tan & Wang: prune by sensitivity and fine-tune again and again, then quantize.

    Attributes:
        finetune_epochs: Epochs of each fine-tuning.
        iteration_metrics: Metrics after each fine-tuning.
        iteration_conditions: Patterns of the test conditions that are scored then.
        baseline_width: Width of the unpruned model of the same size, or ``auto``.
    """

    lambda_1 = 1.0
    alpha_1 = None
    alpha_1_relative = 0.01
    method = "first_violation"
    min_removed = 0.01
    max_iterations = 10
    finetune_epochs: Annotated[int, Range(1)] = 10
    finetune_learning_rate = None
    iteration_metrics: list[str] = ["stoi", "pesq_raw_nb"]
    iteration_conditions: list[str] = ["*_-5dB"]
    baseline_width: Any = "auto"


class P2StructuredPipelineConfig(P2PipelineConfig):
    """Tan & Wang: the same with groups of weights."""

    lambda_2 = 0.1
    groups = ...
    unit_groups = False


class MagnitudePipelineConfig(PipelineConfig):
    """Prune the smallest weights to a wanted sparsity, then quantize.

    Attributes:
        rounds: Prunings, with a fine-tuning after each.
        finetune_epochs: Epochs of each fine-tuning.
    """

    lambda_1 = 0.0
    sparsity = 0.8
    scope = "global"
    rounds = 1
    finetune_epochs: Annotated[int, Range(1)] = 10
    finetune_learning_rate = None
    levels = 32


class AnalysisPipelineConfig(PipelineConfig):
    """What the analyses of single tensors share."""

    lambda_1 = 0.0
    sensitivity_items = None
    betas = None
    structured = False
    groups = ...


class CurvesPipelineConfig(AnalysisPipelineConfig):
    """Measure how scores fall while one tensor alone is pruned."""

    group = None
    sense_range = None
    metrics = ["loss", "stoi", "pesq_raw_nb"]


class BudgetPipelineConfig(AnalysisPipelineConfig):
    """Find the smallest packed file whose score drops by no more than is allowed."""

    metric = "pesq_raw_nb"
    max_drop = 0.05
    candidates = 10
    levels = None
    finetune_epochs = 0
    finetune_learning_rate = None


class ScheduledPipelineConfig(PipelineConfig):
    """What every pipeline with a schedule file has."""

    schedule = None
    strict = True
    calibrate = ...


class DistillerPipelineConfig(ScheduledPipelineConfig):
    """Train while a schedule file prunes the model."""

    starting_epoch = None
    ending_epoch = None
    frequency = None


class PostPruningPipelineConfig(ScheduledPipelineConfig):
    """Prune a trained model once by a schedule file.

    Attributes:
        finetune_epochs: Epochs of fine-tuning after it; 0 for none.
    """

    finetune_epochs: Annotated[int, Range(0)] = 0
    finetune_learning_rate = None


class P3PipelineConfig(PipelineConfig):
    """Esling et al.: lottery tickets, trimmed or masked.

    Attributes:
        rounds: Prunings, with a training after each.
    """

    mode = "trim"
    criterion = "information"
    scope = "global"
    scaling = "max"
    budget = "weights"
    fraction = 0.3
    rounds: Annotated[int, Range(1, 100)] = 15
    min_units = 3
    rewind = "1ep"
    reset = "rewind"
    evidence_items = None
    samples = 2000
    noise_rel = 0.05
    audio_rounds = [0, 3, 6, 9]


class P4PipelineConfig(PipelineConfig):
    """Chen: train with an optimiser that makes groups of weights zero.

    Attributes:
        finetune_epochs: Epochs of fine-tuning after a projection.
    """

    method = "hspg"
    lmbda = None
    reach = None
    epsilon = 0.0
    prox_epochs = None
    orthant_epochs = None
    first_stage = "prox"
    regularizer_inside_moments = False
    target_group_sparsity = None
    rho = 0.01
    inner_steps = 10
    groups = "units"
    selection = "last"
    settings: dict[str, Any] = {}
    finetune_epochs: Annotated[int, Range(1)] = 10
    finetune_learning_rate = None


PIPELINES = {
    "train": TrainPipelineConfig,
    "quantize": QuantizePipelineConfig,
    "p2_unstructured": P2PipelineConfig,
    "p2_structured": P2StructuredPipelineConfig,
    "magnitude": MagnitudePipelineConfig,
    "evaluate": PipelineConfig,
    "curves": CurvesPipelineConfig,
    "budget": BudgetPipelineConfig,
    "p4": P4PipelineConfig,
    "distiller": DistillerPipelineConfig,
    "p1_post": PostPruningPipelineConfig,
    "p3": P3PipelineConfig,
}
