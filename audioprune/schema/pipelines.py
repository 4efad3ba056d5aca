"""Which keys the pipelines have, in which order, and where their defaults deviate.

The YAML of a pipeline hands each key to an argument of a step: ``sparsity: ${pipeline.sparsity}``
below ``audioprune.steps.Prune``. All that is said of that argument is said of the key: type,
range, meaning, and the default where ``...`` stands here. An attribute with an annotation is
said here in full. `scripts/write_schema.py` reads this module.
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

    lambda_1 = ...


class QuantizePipelineConfig(PipelineConfig):
    """Cluster or round the weights of a trained model, pack and score it."""

    levels = alpha_2 = alpha_2_relative = sensitivity_items = ...
    quantizer = bits = symmetric = per = scale = ...


class QuantizeUniformPipelineConfig(PipelineConfig):
    """Few bits a weight, training with rounded weights, statistics measured again."""

    lambda_1 = levels = alpha_2 = alpha_2_relative = sensitivity_items = ...
    quantizer = "uniform"
    bits = 4
    symmetric = ...
    per = "channel"
    scale = ...
    tuning_epochs = tuning_learning_rate = learn = ...
    recalibrate_batches = 0


class PruneUniformPipelineConfig(QuantizeUniformPipelineConfig):
    """Prune the smallest weights at once, and then the same.

    Attributes:
        finetune_epochs: Epochs of fine-tuning after the pruning; 0 for none.
    """

    sparsity = 0.5
    scope = ...
    finetune_epochs: Annotated[int, Range(0)] = 10
    finetune_learning_rate = ...


class P2PipelineConfig(QuantizePipelineConfig):
    """Tan & Wang: prune by sensitivity and fine-tune again and again, then quantize.

    Attributes:
        finetune_epochs: Epochs of each fine-tuning.
        iteration_metrics: Metrics after each fine-tuning.
        iteration_conditions: Patterns of the test conditions that are scored then.
        baseline_width: Width of the unpruned model of the same size, or ``auto``.
    """

    lambda_1 = 1.0
    ramp_begin = ramp_end = ...
    alpha_1 = alpha_1_relative = method = min_removed = max_iterations = ...
    finetune_epochs: Annotated[int, Range(1)] = 10
    finetune_learning_rate = ...
    iteration_metrics: list[str] = ["stoi", "pesq_raw_nb"]
    iteration_conditions: list[str] = ["*_-5dB"]
    baseline_width: Any = "auto"


class P2StructuredPipelineConfig(P2PipelineConfig):
    """Tan & Wang: the same with groups of weights."""

    lambda_2 = 0.1
    groups = unit_groups = ...


class MagnitudePipelineConfig(PipelineConfig):
    """Prune the smallest weights to a wanted sparsity, then quantize.

    Attributes:
        finetune_epochs: Epochs of each fine-tuning.
    """

    lambda_1 = ...
    sparsity = 0.8
    scope = rounds = ...
    finetune_epochs: Annotated[int, Range(1)] = 10
    finetune_learning_rate = ...
    levels = 32
    quantizer = bits = symmetric = per = scale = ...


class WeightsPipelineConfig(PipelineConfig):
    """Prune the smallest weights at once, quantise and pack; nothing needs a task.

    Attributes:
        finetune_epochs: Epochs of fine-tuning after it; 0 for none.
    """

    sparsity = 0.5
    scope = ...
    finetune_epochs: Annotated[int, Range(0)] = 0
    finetune_learning_rate = ...
    levels = 64
    alpha_2 = alpha_2_relative = ...
    quantizer = bits = symmetric = per = scale = ...


class UnitsPipelineConfig(PipelineConfig):
    """Take the weakest units out for real, quantise and pack; nothing needs a task.

    Attributes:
        finetune_epochs: Epochs of fine-tuning after it; 0 for none.
    """

    criterion = scope = scaling = counted = fraction = min_units = ...
    finetune_epochs: Annotated[int, Range(0)] = 0
    finetune_learning_rate = ...
    levels = 64
    alpha_2 = alpha_2_relative = ...
    quantizer = bits = symmetric = per = scale = ...


class AnalysisPipelineConfig(PipelineConfig):
    """What the analyses of single tensors share."""

    lambda_1 = sensitivity_items = betas = structured = groups = whole_units = ...


class CurvesPipelineConfig(AnalysisPipelineConfig):
    """Measure how scores fall while one tensor alone is pruned."""

    group = sense_range = ...
    metrics = ["loss", "stoi", "pesq_raw_nb"]


class BudgetPipelineConfig(AnalysisPipelineConfig):
    """Find the smallest packed file whose score drops by no more than is allowed."""

    metric = "pesq_raw_nb"
    max_drop = 0.05
    candidates = levels = finetune_epochs = finetune_learning_rate = ...


class ScheduledPipelineConfig(PipelineConfig):
    """What every pipeline with a schedule file has."""

    schedule = None
    strict = calibrate = ...


class DistillerPipelineConfig(ScheduledPipelineConfig):
    """Train while a schedule file prunes the model."""

    starting_epoch = ending_epoch = frequency = ...


class PostPruningPipelineConfig(ScheduledPipelineConfig):
    """Prune a trained model once by a schedule file.

    Attributes:
        finetune_epochs: Epochs of fine-tuning after it; 0 for none.
    """

    finetune_epochs: Annotated[int, Range(0)] = 0
    finetune_learning_rate = ...


class P3PipelineConfig(PipelineConfig):
    """Esling et al.: lottery tickets, trimmed or masked.

    Attributes:
        rounds: Prunings, with a training after each.
    """

    mode = criterion = scope = scaling = counted = fraction = ...
    rounds: Annotated[int, Range(1, 100)] = 15
    min_units = ...
    rewind = "1ep"
    reset = evidence_items = samples = noise_rel = ...
    audio_rounds = [0, 3, 6, 9]


class P4PipelineConfig(PipelineConfig):
    """Chen: train with an optimiser that makes groups of weights zero.

    Attributes:
        finetune_epochs: Epochs of fine-tuning after a projection.
    """

    method = lmbda = reach = epsilon = prox_epochs = orthant_epochs = first_stage = ...
    regularizer_inside_moments = target_group_sparsity = rho = inner_steps = groups = ...
    selection = ...
    settings: dict[str, Any] = {}
    finetune_epochs: Annotated[int, Range(1)] = 10
    finetune_learning_rate = ...


PIPELINES = {
    "train": TrainPipelineConfig,
    "quantize": QuantizePipelineConfig,
    "quantize_uniform": QuantizeUniformPipelineConfig,
    "prune_uniform": PruneUniformPipelineConfig,
    "p2_unstructured": P2PipelineConfig,
    "p2_structured": P2StructuredPipelineConfig,
    "magnitude": MagnitudePipelineConfig,
    "weights": WeightsPipelineConfig,
    "units": UnitsPipelineConfig,
    "evaluate": PipelineConfig,
    "curves": CurvesPipelineConfig,
    "budget": BudgetPipelineConfig,
    "p4": P4PipelineConfig,
    "distiller": DistillerPipelineConfig,
    "p1_post": PostPruningPipelineConfig,
    "p3": P3PipelineConfig,
}
