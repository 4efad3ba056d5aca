"""Which other mixtures a training batch holds: every speech with the noise of another item.

``remixed(batch)`` returns a batch whose ``noisy`` signals (B, T) are new and whose SNRs, levels
and lengths are those of the items that gave the speech. Only training steps remix.
"""

from __future__ import annotations

import torch
from torch import Tensor

from audioprune.protocols import Batch


def remixed(batch: Batch) -> Batch:
    """Give every item the noise of another one, drawn by torch's generator of the CPU.

    Of several processes each exchanges the noises of its own part of a batch. A noise that is
    shorter than the speech begins again. Pairs without a difference between noisy and clean stay
    as they are.

    Args:
        batch: ``noisy`` and ``clean`` signals (B, T) with ``lengths`` (B,).
    """
    noisy, clean, lengths = batch["noisy"], batch["clean"], batch["lengths"].cpu()
    # One draw of the shared generator, however many items this process has of the batch.
    generator = torch.Generator().manual_seed(int(torch.randint(2**31, ())))
    order = torch.randperm(len(noisy), generator=generator)
    noise = noisy - clean
    samples = torch.arange(noisy.shape[-1])
    inside = (samples < lengths[:, None]).to(noisy)
    # Place of every sample in the noise that it gets, (B, T).
    places = samples % lengths[order][:, None]
    other = noise[order.to(noise.device)].gather(1, places.to(noise.device)) * inside
    other = other * (_rms(noise, inside) / _rms(other, inside).clamp_min(1e-8))
    mixed = clean + other
    gain = _rms(noisy, inside) / _rms(mixed, inside).clamp_min(1e-8)
    return {**batch, "noisy": mixed * gain, "clean": clean * gain}


def _rms(signals: Tensor, inside: Tensor) -> Tensor:
    """Return the root mean square of the samples that are signal, (B, 1)."""
    power = (signals * inside).square().sum(1, keepdim=True)
    return (power / inside.sum(1, keepdim=True)).sqrt()
