"""Mixtures as items of a data set, and how items become a batch.

``Mixtures`` is the set of items of one split or test condition: ``noisy`` and ``clean`` of shape
(T,). How an item is mixed is written in mixing.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils.data import Dataset

from audioprune.data.speech.mixing import Mixer, Mixture


class Mixtures(Dataset):
    """The items of one split, or of one test condition, as tensors.

    Item: ``noisy`` and ``clean`` (T,) float32, ``id``, ``noise``, ``snr_db``, ``speaker``.

    Args:
        mixer: Makes the mixtures.
        length: Number of items.
        split: ``"train"``, ``"valid"`` or ``"test"``.
        condition: Noise and SNR in dB of a test condition.
    """

    def __init__(
        self, mixer: Mixer, length: int, split: str, condition: tuple[str, float] | None = None
    ) -> None:
        self.mixer = mixer
        self.length = length
        self.split = split
        self.condition = condition
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, from 0, whose items follow."""
        self.epoch = epoch

    def preload(self) -> None:
        """Decode the files of the split ahead, if they all fit into memory."""
        sources = [*self.mixer.speech[self.split], *self.mixer.noise[self.split]]
        self.mixer.store.preload({source.path: source.duration_s for source in sources})

    def mixture(self, index: int) -> Mixture:
        """Return item ``index`` with the record of how it was made."""
        if not 0 <= index < self.length:
            raise IndexError(f"expected an index below {self.length}, got {index}")
        if self.condition:
            return self.mixer.test(*self.condition, index)
        return self.mixer.training(self.split, index, self.epoch)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        mixture = self.mixture(index)
        return {
            "noisy": torch.from_numpy(mixture.noisy),
            "clean": torch.from_numpy(mixture.clean),
            "id": mixture.record["id"],
            "noise": mixture.record["noise_name"],
            "snr_db": mixture.record["snr_db"],
            "speaker": mixture.record["speaker"],
        }


def collate(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Join items of different lengths to a batch.

    Returns:
        ``noisy`` and ``clean`` (B, T) with zeros behind the shorter items, ``lengths`` (B,), and
        lists of ``id``, ``noise`` and ``snr_db``.
    """
    lengths = torch.tensor([len(item["noisy"]) for item in items])
    batch: dict[str, Any] = {"lengths": lengths}
    for key in ("noisy", "clean"):
        batch[key] = torch.zeros(len(items), int(lengths.max()))
        for row, item in zip(batch[key], items, strict=True):
            row[: len(item[key])] = item[key]
    return batch | {key: [item[key] for item in items] for key in ("id", "noise", "snr_db")}
