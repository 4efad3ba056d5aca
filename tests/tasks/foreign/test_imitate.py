"""The task of imitation: losses against the original, layers, labels mixed in, scores."""

from __future__ import annotations

import copy

import pytest
import torch
from tiny_runs import TinySpeech
from torch import Tensor, nn

from audioprune.compress.units.declare import Slice, UnitSet, rows
from audioprune.compress.units.trim import trim_
from audioprune.errors import ConfigError
from audioprune.protocols import HasTeacher, Task
from audioprune.tasks.enhancement import Enhancement
from audioprune.tasks.foreign.comparisons import distance, similarity_distance
from audioprune.tasks.foreign.imitate import Imitate, watched

CORPUS = TinySpeech()
BATCH = CORPUS.collate([CORPUS.train()[index] for index in range(3)])


class TwoHeads(nn.Module):
    """Frames (B, N, 32) to (classes (B, N, 5), a vector (B, 8)), with a state of its own."""

    frames_per_second = 1000.0
    time_dim = 1

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(32, 6)
        self.heads = nn.ModuleDict({"a": nn.Linear(6, 5), "b": nn.Linear(6, 8)})

    def forward(self, frames: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        hidden = torch.tanh(self.inner(frames))
        return self.heads["a"](hidden), {"vector": self.heads["b"](hidden.mean(1))}

    def example_input(self) -> Tensor:
        return torch.zeros(1, 10, 32)


def _models() -> tuple[TwoHeads, TwoHeads]:
    torch.manual_seed(0)
    original = TwoHeads()
    model = copy.deepcopy(original)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.2 * torch.randn_like(weight)
    return original, model


def _task(original: nn.Module, **options) -> Imitate:
    arguments = {"input": "frames", "frame_length": 32, "hop_length": 16, **options}
    task = Imitate(**arguments)
    assert isinstance(task, Task) and isinstance(task, HasTeacher)
    task.teach(copy.deepcopy(original))
    return task


def test_every_output_has_its_loss() -> None:
    original, model = _models()
    task = _task(original, losses={"0": "kl", "1.vector": "cosine"})
    inputs = task.front.inputs(model, BATCH)
    (found, more), (wanted, others) = model(inputs), original(inputs)
    by_hand = distance("kl", found, wanted) + distance("cosine", more["vector"], others["vector"])
    assert task.loss(model, BATCH).item() == pytest.approx(by_hand.item(), rel=1e-5)
    assert task.loss(original, BATCH).item() == pytest.approx(0, abs=1e-6)
    one = _task(original, losses={"1.vector": "mse"}).loss(model, BATCH)
    assert one.item() == pytest.approx(distance("mse", more["vector"], others["vector"]).item())
    both = _task(original).loss(model, BATCH).item()
    first = distance("mse", found, wanted).item()
    assert both == pytest.approx(first + one.item(), rel=1e-5)
    names = {name for name, _ in model.named_parameters()}
    task.loss(model, BATCH).backward()
    assert {n for n, p in model.named_parameters() if p.grad is not None} == names
    assert all(p.grad is None and not p.requires_grad for p in task.teacher.parameters())


def test_layers_are_compared_and_after_trimming_by_likeness() -> None:
    original, model = _models()
    task = _task(original, layers={"inner": 0.5})
    plain = _task(original).loss(model, BATCH)
    inputs = task.front.inputs(model, BATCH)
    own, theirs = model.inner(inputs), original.inner(inputs)
    extra = 0.5 * distance("mse", own, theirs)
    assert task.loss(model, BATCH).item() == pytest.approx((plain + extra).item(), rel=1e-5)
    units = UnitSet(
        "inner",
        (
            Slice("inner.weight", 0, rows(0, 6)),
            Slice("inner.bias", 0, rows(0, 6)),
            Slice("heads.a.weight", 1, rows(0, 6), "in"),
            Slice("heads.b.weight", 1, rows(0, 6), "in"),
        ),
    )
    trim_(model, [units], {"inner": torch.arange(6) < 4})
    plain = _task(original).loss(model, BATCH)
    extra = 0.5 * similarity_distance(model.inner(inputs), theirs)
    assert task.loss(model, BATCH).item() == pytest.approx((plain + extra).item(), rel=1e-5)


def test_a_labelled_task_says_what_the_network_is_fed() -> None:
    torch.manual_seed(0)
    original, model = nn.Linear(17, 17), nn.Linear(17, 17)
    options = {"target": "irm", "frame_length": 32, "hop_length": 16}
    task = Imitate(labelled="enhancement", labelled_options=options, weight=0.25)
    task.teach(copy.deepcopy(original))
    labelled = Enhancement(sample_rate=16000, **options)
    inputs = labelled.target.inputs(BATCH["noisy"])
    by_hand = 0.75 * distance("mse", model(inputs), original(inputs))
    by_hand = by_hand + 0.25 * labelled.loss(model, BATCH)
    assert task.loss(model, BATCH).item() == pytest.approx(by_hand.item(), rel=1e-5)
    assert task.scores_audio and "stoi" in task.monitors
    assert task.shared() == labelled.shared()
    searched = task.validation_loss(model, CORPUS.valid(), CORPUS.collate, None).base()
    batch = CORPUS.collate([CORPUS.valid()[index] for index in range(3)])
    given = labelled.target.inputs(batch["noisy"])
    assert searched == pytest.approx(distance("mse", model(given), original(given)).item())


def test_validation_scores_and_searches_agree_with_the_loss() -> None:
    original, model = _models()
    task = _task(original, losses={"0": "kl"})
    valid = CORPUS.collate([CORPUS.valid()[index] for index in range(3)])
    loss = task.loss(model, valid).item()
    assert task.validate(model, iter([valid]), "loss") == {"loss": pytest.approx(loss)}
    searched = task.validation_loss(model, CORPUS.valid(), CORPUS.collate, None)
    assert searched.base() == pytest.approx(loss, rel=1e-5)
    assert task.better("loss", 1.0, 2.0) and not task.better("loss", 2.0, 1.0)
    data = CORPUS.tests()["white_0dB"]
    row = task.score(model, data, condition="white_0dB", variant="pruned")["pruned"]
    assert (row["noise"], row["snr_db"], row["n"]) == ("white", 0.0, 2)
    changed, count = 0, 0
    for item in (data[0], data[1]):
        inputs = task.front.inputs(model, {"noisy": item["noisy"][None]})
        one, other = (each(inputs)[0].argmax(-1) for each in (model, original))
        changed, count = changed + int((one != other).sum()), count + one.numel()
    assert row["metrics"]["decisions_changed"] == pytest.approx(changed / count)
    same = task.score(original, data, condition="c", variant="v")["v"]["metrics"]
    assert same["relative_error"] == 0 and same["decisions_changed"] == 0
    several = _task(original).score(model, data, condition="c", variant="v")["v"]["metrics"]
    assert {"0_relative_error", "1.vector_correlation"} <= set(several)


def test_a_copy_of_the_task_shares_the_original() -> None:
    original, model = _models()
    task = _task(original)
    assert copy.deepcopy(task).teacher is task.teacher
    with watched(model, ["inner"]) as seen:
        model(torch.zeros(1, 4, 32))
    assert list(seen[0].layers) == ["inner"] and list(seen[0].outputs) == ["0", "1.vector"]
    assert not model._forward_hooks and not model.inner._forward_hooks


def test_what_is_wrong_is_said_in_one_line() -> None:
    original, model = _models()
    alone = Imitate(input="frames", frame_length=32, hop_length=16)
    with pytest.raises(ConfigError, match="expected an original to imitate, got none"):
        alone.loss(model, BATCH)
    with pytest.raises(ConfigError, match="unknown layer in task.layers 'iner'; closest: inner"):
        _task(original, layers={"iner": 1.0}).loss(model, BATCH)
    with pytest.raises(ConfigError, match="unknown output in task.losses '2'"):
        _task(original, losses={"2": "mse"}).loss(model, BATCH)
    model.heads["a"] = nn.Linear(6, 4)
    with pytest.raises(ConfigError, match=r"0: expected the shape .*\(3, .*, 5\), got \(3, .*, 4"):
        _task(original).loss(model, BATCH)
    with pytest.raises(ConfigError, match="unknown monitor 'stoi'"):
        _task(original).validate(model, iter([BATCH]), "stoi")
    with pytest.raises(ConfigError, match="task.weight: expected a share above 0 and below 1"):
        Imitate(weight=1.0)
    with pytest.raises(ConfigError, match="unknown task.labelled 'scene'; closest: scenes"):
        Imitate(labelled="scene")
    with pytest.raises(ConfigError, match="task.labelled_options: .*clases"):
        Imitate(labelled="scenes", labelled_options={"clases": 3})
    with pytest.raises(ConfigError, match="expected none without task.labelled, got classes"):
        Imitate(labelled_options={"classes": 3})
