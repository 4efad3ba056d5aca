"""What must work on another device than the CPU; run in a process of its own by test_fake_device.

Before the first backward pass autograd looks which devices there are, and forked children could
not train any more, so that other tests must not share this process.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import test_pipelines
import torch
from fake_device import NAME, FakeDevice, fake_device
from test_pipelines import Scenes, composed, own_task  # noqa: F401
from tiny_runs import TinySet, TinySpeech, rows, start
from torch import Tensor, nn
from torch.utils.data import Dataset

from audioprune.compress.criteria.data import CalibrationData
from audioprune.compress.criteria.importance import criterion
from audioprune.compress.masks import Mask, prunable
from audioprune.compress.quantize.kmeans import quantize_
from audioprune.compress.units.declare import Prunable
from audioprune.compress.units.trim import trim_
from audioprune.data.notes.note import collate
from audioprune.models.cp_resnet import CPResNet
from audioprune.models.dcae import DCAE
from audioprune.models.ddsp import DDSP
from audioprune.models.densenet import DenseNet
from audioprune.models.fdnn import FDNN
from audioprune.models.gcrn import GCRN
from audioprune.models.lstm import LSTM
from audioprune.models.resnet import ResNet
from audioprune.models.sing import SING
from audioprune.models.tcnn import TCNN
from audioprune.models.vgg import VGG
from audioprune.models.wavenet import WaveNet
from audioprune.optim import HSPG, ProxSG
from audioprune.tasks.adversarial import Adversarial
from audioprune.tasks.enhancement import Enhancement
from audioprune.tasks.generation import NextSample, Reconstruction
from audioprune.tasks.scenes import SceneClassification
from audioprune.training.loaders import moved
from audioprune.training.loop import Fit
from audioprune.training.settings import Settings

pytestmark = pytest.mark.usefixtures("one_thread")


class Notes(Dataset):
    """Decaying sines of rising pitch."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> dict[str, Any]:
        times, pitch = torch.arange(1600) / 16000, 60 + index
        audio = (
            0.4 * torch.sin(6.2832 * 440 * 2 ** ((pitch - 69) / 12) * times) * (-20 * times).exp()
        )
        tags = {"pitch": pitch, "velocity": 100, "instrument": 0, "family": 0, "length": 1600}
        return {"audio": audio, "id": f"note{index}", **tags}


class NoteCorpus:
    """The same notes for every purpose."""

    collate = staticmethod(collate)

    def train(self) -> Notes:
        return Notes()

    valid = test = train


class Quiet(TinySpeech):
    """Short speech at the level of files."""

    def train(self) -> TinySet:
        return _Short(4, 0, 10.0)

    valid = test = train


class _Short(TinySet):
    def __getitem__(self, index: int) -> dict[str, Any]:
        item = super().__getitem__(index)
        cut = slice(900 + 300 * (index % 2))
        return {**item, "noisy": 0.1 * item["noisy"][cut], "clean": 0.1 * item["clean"][cut]}


def _speech(target: str, frame: int = 320, **options: Any) -> Callable[[], Enhancement]:
    return lambda: Enhancement(
        target=target, frame_length=frame, hop_length=frame // 2, sample_rate=16000, **options
    )


def _adversarial() -> Adversarial:
    judge = {"channels": [4, 4, 4], "kernel_size": 5}
    return Adversarial(
        frame_length=256, hop_length=128, discriminator=judge, frames_per_call=4, l1_decay=1e-3,
        l1_decay_from=0,
    )  # fmt: skip


def _scenes() -> SceneClassification:
    return SceneClassification(classes=2, mixup=0.3, roll_frames=3)


def _notes(inputs: str) -> Callable[[], Reconstruction]:
    return lambda: Reconstruction(inputs=inputs, stft_windows=[32, 128])


def _tagged() -> NextSample:
    return NextSample(conditioning="note", pitches=[50, 80])


CASES: dict[str, tuple[Callable[[], nn.Module], Callable[[], Any], Any]] = {
    "fdnn": (lambda: FDNN(bins=17, width=8, depth=2), _speech("irm", 32), TinySpeech()),
    "fdnn by frames": (
        lambda: FDNN(bins=17, width=8, depth=2, normalise=True),
        _speech("irm", 32, frame_batch=100),
        TinySpeech(),
    ),
    "lstm": (lambda: LSTM(bins=17, width=6, depth=2), _speech("magnitude", 32), TinySpeech()),
    "tcnn": (lambda: TCNN(width=0.0625), _speech("waveform"), TinySpeech()),
    "gcrn": (lambda: GCRN(width=0.0625), _speech("complex"), TinySpeech()),
    "dcae": (lambda: DCAE(channels=(6, 8, 4), kernel_size=5), _adversarial, Quiet()),
    "vgg": (lambda: VGG(classes=2, width=2, mels=48), _scenes, Scenes()),
    "resnet": (
        lambda: ResNet(classes=2, width=2, mels=48, depths=(1, 1, 1, 1)), _scenes, Scenes()
    ),
    "densenet": (
        lambda: DenseNet(classes=2, width=4, growth=2, mels=48, depths=(1, 1, 1, 1)),
        _scenes,
        Scenes(),
    ),
    "cp_resnet": (lambda: CPResNet(classes=2, width=2, mels=48, rho=2), _scenes, Scenes()),
    "wavenet": (
        lambda: WaveNet(layers=4, residual=5, gate=4, skip=6, end=5, classes=16, conditioning=32),
        _tagged,
        NoteCorpus(),
    ),
    "sing": (
        lambda: SING(channels=8, dimension=4, kernel_size=64, stride=16, context=5),
        _notes("audio"),
        NoteCorpus(),
    ),
    "ddsp": (
        lambda: DDSP(
            hidden=8, latent=2, encoder_width=4, partials=4, filter_size=16, reverb_length=50
        ),
        _notes("controls"),
        NoteCorpus(),
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def device() -> Iterator[FakeDevice]:
    with fake_device() as mode:
        yield mode


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[nn.Module, Any, Any]:
    make, task, data = CASES[request.param]
    torch.manual_seed(0)
    return make(), task(), data


def _near(found: Tensor, wanted: Tensor, name: str = "") -> None:
    torch.testing.assert_close(
        found.detach().cpu(), wanted.detach(), rtol=1e-2, atol=5e-5, msg=lambda m: f"{name}: {m}"
    )


class _CountedFit(Fit):
    """Collects what makes the host wait within training steps."""

    def _step(self, batch: dict[str, Any]) -> None:
        with self.mode.counted() as found:
            super()._step(batch)
        self.seen += found


def _trained(folder: Path, case: Any, place: str, mode: FakeDevice) -> tuple[nn.Module, Any, Any]:
    model, task, data = copy.deepcopy(case)
    settings = Settings(epochs=1, batch_size=3, optimizer="sgd", learning_rate=1e-3)
    fit = _CountedFit(model, task, data, settings, folder, device=place, sync_every=50)
    fit.mode, fit.seen = mode, []
    return model, fit.run(), fit.seen


def test_a_training_never_waits_and_is_that_of_the_cpu(
    tmp_path: Path, case: Any, device: FakeDevice
) -> None:
    ours, outcome, seen = _trained(tmp_path / "a", case, NAME, device)
    wanted, known, _ = _trained(tmp_path / "b", case, "cpu", device)
    assert seen == []
    assert {each.device.type for each in ours.state_dict().values()} == {NAME}
    for name, value in wanted.state_dict().items():
        _near(ours.state_dict()[name], value, name)
    for found, given in zip(outcome.history, known.history, strict=True):
        assert found == pytest.approx(given, rel=1e-3)


def test_the_searched_loss_is_that_of_the_cpu(case: Any) -> None:
    model, task, data = case
    model.eval()
    wanted = task.validation_loss(model, data.valid(), data.collate, 3).base()
    model.to(NAME)
    found = task.validation_loss(model, data.valid(), data.collate, 3)
    assert found.base() == pytest.approx(wanted, rel=1e-4)
    name = prunable(model)[-1]
    assert found.with_tensor(name, 1e9) == pytest.approx(wanted, rel=1e-4)


def _evidence(model: nn.Module, task: Any, data: Any) -> CalibrationData:
    def loss(model: nn.Module, batch: Any) -> Tensor:
        torch.manual_seed(0)
        kept = {}

        def update(value: Tensor, which: str = "model", **unused: Any) -> Tensor:
            kept[which] = value
            return value.detach()

        task.step(model, batch, update)
        return kept["model"]

    items = data.valid()
    batch = data.collate([items[index] for index in range(3)])
    place = next(model.parameters()).device
    return CalibrationData([moved(batch, place)], loss)


@pytest.mark.parametrize("name", ["magnitude", "gradient", "activation"])
def test_criteria_are_those_of_the_cpu(case: Any, name: str) -> None:
    model, task, data = case
    several = isinstance(task, Adversarial) or (isinstance(task, Enhancement) and task.frame_batch)
    if not isinstance(model, Prunable) or several:
        pytest.skip("no units, or several updates in one step")
    sets = model.unit_sets()
    wanted = criterion("unit", name)(model, sets, _evidence(model, task, data))
    model.to(NAME)
    found = criterion("unit", name)(model, sets, _evidence(model, task, data))
    for each in wanted:
        _near(found[each], wanted[each], each)


@pytest.mark.parametrize("kind", [HSPG, ProxSG])
def test_steps_of_groups_never_wait_and_are_those_of_the_cpu(
    case: Any, kind: type, device: FakeDevice
) -> None:
    model, _, _ = case
    twin = copy.deepcopy(model).to(NAME)
    options = {"prox_steps": 1} if kind is HSPG else {}
    whole = isinstance(model, Prunable) and not isinstance(model, DCAE)
    sets = model.unit_sets() if whole else "rows"
    optimizers = [
        kind(each.named_parameters(), 0.05, lmbda=0.5, units=sets, fused=False, **options)
        for each in (model, twin)
    ]
    for step in range(3):
        generator = torch.Generator().manual_seed(step)
        for mine, ours in zip(model.parameters(), twin.parameters(), strict=True):
            mine.grad = torch.randn(mine.shape, generator=generator)
            ours.grad = mine.grad.to(NAME)
        optimizers[0].step()
        with device.counted() as seen:
            optimizers[1].step()
        assert seen == [] or step == 0
    for mine, ours in zip(model.parameters(), twin.parameters(), strict=True):
        _near(ours, mine)
    assert optimizers[1].group_sparsity() == pytest.approx(optimizers[0].group_sparsity())


def test_masks_apply_without_waiting_and_quantising_and_trimming_are_those_of_the_cpu(
    case: Any, device: FakeDevice
) -> None:
    model, _, _ = case
    model.eval()
    twin = copy.deepcopy(model).to(NAME)
    parameters = dict(model.named_parameters())
    mask = Mask({name: parameters[name].abs() > parameters[name].abs().mean()
                 for name in prunable(model)})  # fmt: skip
    mask.apply_(model)
    ours = mask.to(NAME)
    with device.counted() as seen:
        ours.apply_(twin)
    assert seen == []
    levels = dict.fromkeys(prunable(model), 4)
    wanted, found = quantize_(model, mask, levels), quantize_(twin, ours, levels)
    for name, book in wanted.items():
        assert torch.equal(found[name].codes, book.codes)
        assert torch.equal(twin.state_dict()[name].cpu(), model.state_dict()[name])
    if not isinstance(model, Prunable):
        return
    sets = model.unit_sets()
    keep = {each.name: torch.arange(each.size) % 3 < 2 for each in sets}
    trim_(model, sets, keep)
    trim_(twin, twin.unit_sets(), {name: each.to(NAME) for name, each in keep.items()})
    for name, value in model.state_dict().items():
        assert torch.equal(twin.state_dict()[name].cpu(), value), name


PIPELINES = ("budget", "p1_sensitivity", "p2_structured", "p3_trim", "p4_admm", "p4_literal")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(each, marks=() if each in PIPELINES[2:5] else pytest.mark.slow)
        for each in test_pipelines.NAMES
    ],
)
def test_a_pipeline_gives_the_rows_of_the_cpu(
    tmp_path: Path,
    composed: dict[str, Any],  # noqa: F811
    name: str,
) -> None:
    found = []
    for place in (NAME, "cpu"):
        plain = test_pipelines._plain(name, tmp_path / place)
        plain["runtime"]["device"] = place
        start(tmp_path / place / "run", plain)
        found.append(rows(tmp_path / place / "run"))
    for ours, wanted in zip(*found, strict=True):
        _same(ours, wanted)


def _same(found: Any, wanted: Any, name: str = "") -> None:
    if isinstance(wanted, dict):
        assert found.keys() == wanted.keys(), name
        for key in wanted:
            if key not in ("seconds_scoring", "rtf"):
                _same(found[key], wanted[key], f"{name}.{key}")
    elif isinstance(wanted, float):
        assert found == pytest.approx(wanted, rel=1e-3, abs=1e-5), name
    else:
        assert found == wanted, name
