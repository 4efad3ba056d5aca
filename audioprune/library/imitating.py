"""How a small network learns to give the outputs of its original: ``imitate``.

It needs inputs alone, no labels. Trainings from folders of audio, with validation, checkpoints and
rows, are the business of ``task=imitate``; the losses are the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from audioprune.compress.placement import device_of
from audioprune.errors import ConfigError, DataError, DivergedError
from audioprune.library.cards import Example
from audioprune.library.compressing import mask
from audioprune.tasks.foreign.comparisons import chosen_losses, distance, named_outputs


def imitate(
    model: nn.Module,
    original: nn.Module,
    inputs: Iterable[Example],
    *,
    steps: int,
    loss: str = "mse",
    losses: Mapping[str, str] | None = None,
    learning_rate: float = 1e-3,
    clip_norm: float = 5.0,
) -> list[float]:
    """Train a network to give the outputs of another one, in place.

    Weights that are zero stay zero. Adam goes over the inputs again and again until the steps are
    taken; the network is left in evaluation mode.

    Args:
        model: The network that learns, such as a pruned or a trimmed copy.
        original: The network that it imitates; evaluated only.
        inputs: Batches of inputs, each the argument or the arguments of both networks. An iterable
            that can be walked once is enough for as many steps as it has batches.
        steps: Number of updates.
        loss: Of every output: ``mse``, ``l1``, ``kl``, ``binary_kl``, ``cosine`` or ``stft``; see
            ``task.loss`` of ``task=imitate``.
        losses: Losses of single outputs by their names; those not named are then left out.
        learning_rate: Of Adam.
        clip_norm: Largest norm of the gradient; larger ones are scaled to it.

    Returns:
        The loss before each update.

    Raises:
        ConfigError: A loss is unknown, the outputs have other shapes, or no parameter is trained.
        DataError: The inputs end before the steps are taken.
        DivergedError: The loss is not finite.
    """
    if steps < 1:
        raise ConfigError(f"expected steps of at least 1, got {steps}; give the number of updates")
    chosen_losses(loss, losses or {})
    trained = [each for each in model.parameters() if each.requires_grad]
    if not trained:
        raise ConfigError(
            f"{type(model).__name__}: expected parameters that are trained, got none; set "
            f"requires_grad=True"
        )
    kept, optimizer = mask(model), torch.optim.Adam(trained, lr=learning_rate)
    original.eval()
    model.train()
    found: list[float] = []
    for batch in _repeated(inputs, steps):
        value = _distance(model, original, batch, loss, losses)
        if not bool(torch.isfinite(value)):
            raise DivergedError(
                f"step {len(found)}: expected a finite loss, got {float(value.detach())}; lower "
                f"learning_rate"
            )
        if not value.requires_grad:
            raise ConfigError(
                "expected outputs that depend on trained parameters, got others; change losses"
            )
        optimizer.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(trained, clip_norm)
        optimizer.step()
        kept.apply_(model)
        found.append(float(value.detach()))
    model.eval()
    return found


def _distance(
    model: nn.Module,
    original: nn.Module,
    batch: Example,
    loss: str,
    losses: Mapping[str, str] | None,
) -> Tensor:
    """Return how far the outputs for a batch are from the original's, a scalar."""
    arguments: Sequence[Tensor] = (batch,) if isinstance(batch, Tensor) else tuple(batch)
    with torch.no_grad():
        wanted = named_outputs(original(*(each.to(device_of(original)) for each in arguments)))
    own = named_outputs(model(*(each.to(device_of(model)) for each in arguments)))
    chosen = dict(losses) if losses else dict.fromkeys(wanted, loss)
    missing = [name for name in chosen if name not in own or name not in wanted]
    if missing or not chosen:
        raise ConfigError(
            f"expected outputs {', '.join(chosen) or 'of numbers'} of both networks, got "
            f"{', '.join(own) or 'none'} and {', '.join(wanted) or 'none'}; change losses"
        )
    return torch.stack(
        [
            distance(kind, own[name], wanted[name].to(own[name].device), name)
            for name, kind in chosen.items()
        ]
    ).sum()


def _repeated(inputs: Iterable[Example], steps: int) -> Iterator[Example]:
    """Yield so many batches, walking over the inputs again where they can be.

    Raises:
        DataError: They end before.
    """
    taken = 0
    while taken < steps:
        before = taken
        for batch in inputs:
            if taken == steps:
                return
            taken += 1
            yield batch
        if taken == before:
            raise DataError(
                f"expected inputs for {steps} steps, got {taken} batches; give a list or more of "
                f"them"
            )
