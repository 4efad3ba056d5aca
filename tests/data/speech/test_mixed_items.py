"""Mixtures as items and batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from audioprune.data.speech.mixed_items import Mixtures, collate


def test_dataset_and_collate(mixer) -> None:
    items = Mixtures(mixer(), 10, "train")
    first = items[0]
    assert (
        set(first) == {"noisy", "clean", "id", "noise", "snr_db", "speaker"}
        and first["noisy"].dtype == torch.float32
    )
    assert first["id"].startswith("000000_train") and isinstance(first["snr_db"], float)
    items.set_epoch(1)
    assert not torch.equal(items[0]["noisy"][:100], first["noisy"][:100])
    with pytest.raises(IndexError):
        items[10]
    batch = collate([items[number] for number in range(3)])
    lengths = batch["lengths"].tolist()
    assert (
        batch["noisy"].shape == batch["clean"].shape == (3, max(lengths))
        and batch["lengths"].dtype == torch.int64
    )
    shortest = int(np.argmin(lengths))
    assert (
        batch["noisy"][shortest, lengths[shortest] :].abs().sum() == 0
        and len(batch["id"]) == len(batch["snr_db"]) == 3
    )
    assert torch.equal(batch["clean"][0, : lengths[0]], items[0]["clean"])


def test_workers_give_the_same_items(mixer) -> None:
    items = Mixtures(mixer(babble_share=0.3), 6, "train")
    items.set_epoch(2)
    alone, helped = (
        list(torch.utils.data.DataLoader(items, 2, collate_fn=collate, num_workers=count))
        for count in (0, 2)
    )
    assert all(
        torch.equal(a["noisy"], b["noisy"]) and a["id"] == b["id"]
        for a, b in zip(alone, helped, strict=True)
    )
