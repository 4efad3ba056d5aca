"""Which other mixtures a training batch holds: every speech with the noise of another item.

``remixed(batch)`` returns a batch whose ``noisy`` signals (B, T) are new and whose SNRs, levels
and lengths are those of the items that gave the speech. Only training steps remix.
"""

from __future__ import annotations

import torch
from torch import Tensor

from audioprune.protocols import Batch
from audioprune.training.processes import processes


def remixed(batch: Batch) -> Batch:
    """Give every item the noise of another one, drawn by torch's generator of the CPU.

    A noise that is shorter than the speech begins again. Pairs without a difference between noisy
    and clean stay as they are.

    Args:
        batch: ``noisy`` and ``clean`` signals (B, T) with ``lengths`` (B,).
    """
    noisy, clean, lengths = batch["noisy"], batch["clean"], batch["lengths"].cpu()
    noise, group = noisy - clean, processes()
    # other items are those of the whole batch, of which a process may hold a part
    order = torch.randperm(group.rows(len(noisy)))[group.own_rows(len(noisy))]
    all_noise, all_lengths = group.whole_rows(noise), group.whole_rows(lengths)
    samples = torch.arange(noisy.shape[-1])
    inside = (samples < lengths[:, None]).to(noisy)
    # Place of every sample in the noise that it gets, (B, T).
    places = samples % all_lengths[order][:, None]
    other = all_noise[order.to(noise.device)].gather(1, places.to(noise.device)) * inside
    other = other * (_rms(noise, inside) / _rms(other, inside).clamp_min(1e-8))
    mixed = clean + other
    gain = _rms(noisy, inside) / _rms(mixed, inside).clamp_min(1e-8)
    return {**batch, "noisy": mixed * gain, "clean": clean * gain}


def _rms(signals: Tensor, inside: Tensor) -> Tensor:
    """Return the root mean square of the samples that are signal, (B, 1)."""
    power = (signals * inside).square().sum(1, keepdim=True)
    return (power / inside.sum(1, keepdim=True)).sqrt()
