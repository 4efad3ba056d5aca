"""Batches: their order, the parts of several processes, and that workers change nothing."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader
from toys import ToyData, ToyModel, ToySet, ToyTask

from audioprune.errors import AudiopruneError, ConfigError, DataError
from audioprune.files import read_lines
from audioprune.training import loaders
from audioprune.training.loaders import (
    TRAIN,
    Loader,
    TrainingLoader,
    batch_sizes,
    chosen_workers,
    dead_workers_named,
    epoch_order,
    epoch_plan,
    part_of,
)
from audioprune.training.loop import Fit
from audioprune.training.settings import Settings

CPU = torch.device("cpu")


class Drawn(ToySet):
    """Items that tell the process that made them; item 13 is bad, 14 kills its process."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        if index == 13 and self.epoch == 7:
            raise DataError("expected item 13 whole, got half of it; replace it")
        if index == 14 and self.epoch == 8:
            os.kill(os.getpid(), signal.SIGKILL)
        return {**super().__getitem__(index), "process": torch.tensor(os.getpid())}

    def preload(self) -> None:
        self.preloaded = True


def test_a_small_last_batch_is_joined_to_the_one_before() -> None:
    assert batch_sizes(7, 3) == [3, 3, 1] and batch_sizes(7, 3, 2) == [3, 4]
    assert batch_sizes(8, 3, 2) == [3, 3, 2] and batch_sizes(1, 3, 2) == [1]
    plan = epoch_plan(batch_sizes(7, 3, 2), 1, 0)
    assert [len(batch) for batch in plan] == [3, 4]
    assert sorted(place for batch in plan for place in batch) == list(range(7))


def _loader(workers: int | str, size: int = 3) -> TrainingLoader:
    data = ToyData()
    return TrainingLoader(
        data, Drawn(16, 0), data.valid(), batch_sizes(16, size), size, 1, workers, CPU
    )


def _epochs(loader: TrainingLoader) -> list[torch.Tensor]:
    """Return epoch 0 cut short, a validation, epoch 1, and epoch 2 from its fourth batch on."""
    first = loader.train(0)
    seen = [next(first)["x"], next(first)["x"]]
    seen += [batch["x"] for batch in loader.valid()]
    seen += [batch["x"] for batch in loader.train(1)]
    return seen + [batch["x"] for batch in loader.train(2, done=3)]


@pytest.mark.parametrize("count", [0, 1, 2, 7, 8])
@pytest.mark.parametrize("processes", [1, 2, 3])
def test_parts_follow_one_another_and_are_equal_but_for_one(count: int, processes: int) -> None:
    parts = [part_of(count, index, processes) for index in range(processes)]
    assert [place for part in parts for place in part] == list(range(count))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_processes_share_every_batch() -> None:
    whole = epoch_plan(batch_sizes(40, 3), 1, 2)
    parts = [epoch_plan(batch_sizes(40, 3), 1, 2, process=(index, 2)) for index in range(2)]
    assert len(whole) == len(parts[0]) == len(parts[1]) == len(batch_sizes(40, 3))
    assert sum(whole, []) == epoch_order(40, 1, 2)
    for batch, *shares in zip(whole, *parts, strict=True):
        assert sum(shares, [])[: len(batch)] == batch
    lonely = epoch_plan(batch_sizes(40, 1), 1, 0, process=(1, 2))
    assert all(len(batch) == 1 for batch in lonely)  # the stand-in of an empty part


def test_batches_are_the_same_whatever_the_number_of_workers() -> None:
    torch.manual_seed(5)
    expected, state = _epochs(_loader(0)), torch.get_rng_state()
    items = ToySet(16, 0)
    items.set_epoch(2)
    order = epoch_order(16, 1, 2)[9:]
    assert torch.equal(torch.cat(expected[-3:]), torch.stack([items[i]["x"] for i in order]))
    for workers in (1, 3):
        torch.manual_seed(5)
        for one, other in zip(_epochs(_loader(workers)), expected, strict=True):
            assert torch.equal(one, other)
        assert torch.equal(torch.get_rng_state(), state)


def test_validation_draws_as_a_plain_loader_does() -> None:
    torch.manual_seed(5)
    iter(DataLoader(ToySet(12, 1)))
    expected = torch.get_rng_state()
    torch.manual_seed(5)
    _loader(0).valid()
    assert torch.equal(torch.get_rng_state(), expected)


def test_workers_outlive_epochs_and_share_what_was_decoded_before() -> None:
    loader = _loader(2)
    made = [
        {int(each) for batch in loader.train(epoch) for each in batch["process"]}
        for epoch in (0, 1)
    ]
    assert made[0] == made[1] and len(made[0]) == 2 and os.getpid() not in made[0]
    assert loader._here.parts[TRAIN].preloaded


def test_an_error_in_a_worker_is_the_same_line() -> None:
    before = set(multiprocessing.active_children())
    with pytest.raises(DataError, match=r"^expected item 13 whole, got half of it; replace it$"):
        list(_loader(1).train(7))
    assert set(multiprocessing.active_children()) <= before, "its process outlives the error"


def test_a_killed_worker_is_one_line() -> None:
    with pytest.raises(AudiopruneError) as caught, dead_workers_named():
        list(_loader(1).train(8))
    said = r"a process that loads data ended early \(pid \d+, signal Killed\); run the same .*"
    assert re.fullmatch(said, str(caught.value))
    with pytest.raises(RuntimeError, match="another"), dead_workers_named():
        raise RuntimeError("another failure")


def test_training_is_the_same_with_workers_and_logs_the_waiting(tmp_path: Path) -> None:
    settings = Settings(epochs=2, batch_size=8, learning_rate=0.02)
    outcomes = []
    for workers in (0, 1):
        torch.manual_seed(3)
        folder = tmp_path / str(workers)
        fit = Fit(
            ToyModel(), ToyTask(), ToyData(), settings, folder, device="cpu", workers=workers
        )
        outcomes.append(fit.run())
        logged = read_lines(folder / "log.jsonl")
        assert [0 <= row.pop("waiting") <= 1 for row in logged] == [True, True]
        assert logged == outcomes[-1].history
    assert replace(outcomes[0], seconds=0, mask=None) == replace(outcomes[1], seconds=0, mask=None)


def test_late_loading_starts_the_spare_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = [batch["x"] for batch in _loader(0).train(0)]
    monkeypatch.setattr(loaders, "TRIAL_S", 0.0)
    monkeypatch.setattr(loaders, "LATE_SHARE", -1.0)
    loader = _loader("auto")
    loader.most = 1
    batches = list(loader.train(0))
    assert all(torch.equal(one["x"], x) for one, x in zip(batches, expected, strict=True))
    here = [int(batch["process"][0]) == os.getpid() for batch in batches]
    assert here[0] and not any(here[1:]) and loader.workers == 1


def test_waiting_is_a_share_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0.0, 1.0, 3.0, 7.0, 8.0, 8.0, 8.0])  # begun; asked and got, three times
    monkeypatch.setattr(loaders.time, "monotonic", lambda: next(times))
    loader = Loader({"scored": ToySet(2, 0)}, ToyData().collate)
    assert loader.waiting("scored") == 0
    assert len(list(loader.batches("scored", [[0], [1]]))) == 2
    assert loader.waiting("scored") == (2 + 1 + 0) / 8


@pytest.mark.parametrize(
    ("device", "processes", "threads", "cores", "expected"),
    [
        ("cpu", 1, 1, 2, (0, 0)),
        ("cpu", 1, 1, 4, (0, 2)),
        ("cpu", 2, 2, 16, (0, 4)),
        ("cpu", 8, 1, 4, (0, 0)),
        ("cuda", 1, 1, 1, (1, 1)),
        ("cuda", 1, 1, 4, (3, 3)),
        ("cuda", 2, 1, 64, (8, 8)),
    ],
)
def test_workers_follow_cores_and_device(
    device: str, processes: int, threads: int, cores: int, expected: tuple[int, int]
) -> None:
    assert chosen_workers("auto", device, processes, threads, cores) == expected
    assert chosen_workers("3", device, processes, threads, cores) == (3, 3)


@pytest.mark.parametrize("wrong", ["many", -1, "257", "1.5", ""])
def test_other_numbers_of_workers_are_refused(wrong: str | int) -> None:
    with pytest.raises(ConfigError, match="runtime.workers: expected auto or a whole number"):
        chosen_workers(wrong, "cpu")
