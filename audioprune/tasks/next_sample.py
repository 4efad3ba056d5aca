"""How a model of samples predicts, errs and draws: cross-entropies, likeliest samples, free runs.

Tokens are classes (B, T) of a mu-law scale, features (B, C, T) are what each sample is conditioned
on, or None. Logits (B, Q, T) at t are those of sample t + 1. The first ``receptive_field`` samples
are context. Nothing here trains or writes files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audioprune.compress.placement import device_of
from audioprune.dsp import mu_law_decode
from audioprune.errors import ConfigError
from audioprune.protocols import GeneratesSamples, PredictsSamples, require

_CHUNK = 16384


def predictor(model: nn.Module) -> PredictsSamples:
    """Return a model as one that predicts samples.

    Raises:
        ConfigError: It lacks the attributes of one.
    """
    return require(model, PredictsSamples, "next_sample", "use model=wavenet or one like it")


def predictions(
    model: nn.Module, tokens: Tensor, features: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return logits (B, Q, T - context) and the classes (B, T - context) that they should name."""
    context, given = predictor(model).receptive_field, tokens[:, :-1]
    logits = model(given) if features is None else model(given, features[..., :-1])
    return logits[..., context - 1 :].float(), tokens[:, context:]


def nats(model: nn.Module, tokens: Tensor, features: Tensor | None) -> Tensor:
    """Return the cross-entropy (B, T - context) of the samples behind the context."""
    logits, wanted = predictions(model, tokens, features)
    return F.cross_entropy(logits, wanted, reduction="none")


def mean_nats(model: nn.Module, tokens: Tensor, features: Tensor | None) -> Tensor:
    """Return the cross-entropy of each item in nats per sample, (B,); long items pass in parts."""
    total = torch.zeros(len(tokens), device=tokens.device)
    for part, known in _parts(model, tokens, features):
        total += nats(model, part, known).sum(1)
    return total / (tokens.shape[1] - predictor(model).receptive_field)


def likeliest(model: nn.Module, tokens: Tensor, features: Tensor | None) -> Tensor:
    """Return the likeliest value of each sample behind the context, shape (B, T - context)."""
    classes = predictor(model).classes
    values = []
    for part, known in _parts(model, tokens, features):
        logits, _ = predictions(model, part, known)
        values.append(mu_law_decode(logits.argmax(1), classes))
    return torch.cat(values, 1)


def constant_nats(model: nn.Module, items: Iterable[Tensor]) -> float:
    """Return the entropy in nats of the shares of the classes in items of tokens (B, T).

    It is the error of the best constant prediction.
    """
    known = predictor(model)
    counts = torch.zeros(known.classes, dtype=torch.long)
    for tokens in items:
        predicted = tokens[:, known.receptive_field :].cpu().reshape(-1)
        counts += predicted.bincount(minlength=known.classes)
    shares = counts[counts > 0].double() / counts.sum()
    return -float((shares * shares.log()).sum())


def loss_of_logits(tokens: Tensor, context: int) -> Callable[[Tensor], Tensor]:
    """Return the function that maps the logits of all tokens but the last to their mean loss."""

    def loss(logits: Tensor) -> Tensor:
        return F.cross_entropy(logits[..., context - 1 :].float(), tokens[:, context:])

    return loss


def drawer(model: nn.Module) -> GeneratesSamples:
    """Return a model as one that draws samples.

    Raises:
        ConfigError: It cannot generate.
    """
    if not isinstance(model, GeneratesSamples):
        raise ConfigError(
            f"expected a model with a method generate(), got {type(model).__name__}; add "
            f"one or use another model"
        )
    return model


def drawn(
    model: GeneratesSamples,
    count: int,
    samples: int,
    features: Tensor | None,
    seed: int,
    temperature: float,
) -> Tensor:
    """Draw audio (count, samples) out of a receptive field of silence.

    Args:
        model: Draws samples one after another.
        count: Number of items B.
        samples: Length of each.
        features: Features (B, C, T0 + samples) with those of the silence T0 first, or None.
        seed: Decides the draws.
        temperature: Divisor of the logits; 0 takes the most likely class.
    """
    device = device_of(model) if isinstance(model, nn.Module) else torch.device("cpu")
    silence = torch.full((count, model.receptive_field), model.classes // 2, device=device)
    tokens = model.generate(samples, features, seed, temperature, silence)
    return mu_law_decode(tokens, model.classes)


def _parts(
    model: nn.Module, tokens: Tensor, features: Tensor | None
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Yield stretches of at most ``_CHUNK`` samples with their context, and their features."""
    context, length = predictor(model).receptive_field, tokens.shape[1]
    for start in range(context, length, _CHUNK):
        part = slice(start - context, min(length, start + _CHUNK))
        yield tokens[:, part], None if features is None else features[..., part]
