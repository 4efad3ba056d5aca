"""The corpus of a run that looks at no audio: ``NoCorpus`` has no items and reads no file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch.utils.data import default_collate

from audioprune.protocols import Batch, Items


class NoCorpus:
    """No audio at all."""

    sample_rate = None

    def prepare(self) -> None:
        """Nothing is looked for."""

    def train(self) -> Items:
        """Return no items."""
        return []

    def valid(self) -> Items:
        """Return no items."""
        return []

    def tests(self) -> Mapping[str, Items]:
        """Return no conditions."""
        return {}

    def collate(self, items: Sequence[Mapping[str, Any]]) -> Batch:
        """Join items to a batch as torch does."""
        batch: Batch = default_collate(list(items))
        return batch

    def fingerprint(self) -> str:
        """Return the same text always."""
        return "none"

    def describe(self) -> dict[str, Any]:
        """Return that there is nothing."""
        return {"train": {}, "valid": {}, "tests": {}}

    def scale(self) -> str:
        """Return the size of the training set."""
        return "no audio"

    def leaks(self) -> Sequence[Any]:
        """Return nothing."""
        return []

    def manifest(self) -> list[dict[str, Any]]:
        """Return the record of no corpus."""
        return [{"corpus": "no_audio"}]
