"""What the parts of an experiment must agree on, and which contradictions are refused."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny_runs import TinySpeech, config, open_run, rows, start, step

from audioprune import provenance as stored
from audioprune.errors import ConfigError
from audioprune.experiment import agreement
from audioprune.experiment.model_io import build_model, instantiate
from audioprune.metrics.scorer import Scorer
from audioprune.models.dcae import DCAE
from audioprune.models.wavenet import WaveNet

RATIO_MASK = {"_target_": "audioprune.tasks.enhancement.Enhancement", "target": "irm"}
SCENES = {"_target_": "audioprune.tasks.scenes.SceneClassification", "classes": None}
NEXT_SAMPLE = "audioprune.tasks.generation.NextSample"
TAGS = {
    "_target_": NEXT_SAMPLE,
    "conditioning": "note",
    "pitches": None,
    "families": None,
    "sample_rate": None,
}
FDNN = {
    "name": "fdnn",
    "_target_": "audioprune.models.fdnn.FDNN",
    "width": 4,
    "bins": None,
    "frames_per_second": None,
}
VGG = {
    "_target_": "audioprune.models.vgg.VGG",
    "classes": None,
    "mels": None,
    "width": 1,
    "frames_per_second": None,
}


class Sharing:
    """A corpus that says numbers which all parts must agree on."""

    def __init__(self, **numbers: Any) -> None:
        self.numbers = numbers
        self.sample_rate = numbers["sample_rate"]

    def shared(self) -> dict[str, Any]:
        return self.numbers


CLIPS = Sharing(sample_rate=16000, classes=3, mels=48, frames_per_second=40.0, channels=2)
NOTES = Sharing(sample_rate=44100, pitches=[50, 60], families=2, instruments=3, item_samples=900)


class SlowSpeech(TinySpeech):
    """The tiny corpus at 8 kHz."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.sample_rate = 8000


class Unprepared(SlowSpeech):
    """A corpus whose preparation would take long."""

    def prepare(self) -> None:
        raise AssertionError("prepared before the rates were compared")


class Fixed(torch.nn.Module):
    """A user's model that says how many frames a second it was made for."""

    frames_per_second, time_dim = 100.0, 1

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(17, 17)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.layer(values))

    def example_input(self) -> torch.Tensor:
        return torch.zeros(1, 10, 17)


def _parts(
    task: dict[str, Any], model: dict[str, Any], corpus: Any
) -> tuple[Any, torch.nn.Module]:
    built = instantiate(agreement.complete_task(task, corpus))
    return built, build_model(agreement.complete_model(model, built, corpus), trusted=True)


def test_the_sample_rate_follows_the_corpus_into_task_and_costs() -> None:
    corpus = SimpleNamespace(sample_rate=8000)
    task, model = _parts(
        {**RATIO_MASK, "frame_length": 256, "hop_length": 64, "sample_rate": None}, FDNN, corpus
    )
    assert task.sample_rate == 8000 and model.bins == 129 and model.frames_per_second == 125.0


def test_classes_bands_and_frames_follow_the_corpus() -> None:
    task, model = _parts(SCENES, VGG, CLIPS)
    assert (
        task.classes == 3
        and model.classes == 3
        and model.mels == 48
        and model.frames_per_second == 40.0
    )


def test_the_tags_of_notes_follow_the_corpus_into_the_model() -> None:
    wavenet = {
        "_target_": "audioprune.models.wavenet.WaveNet",
        "layers": 2,
        "cycles": 1,
        "conditioning": None,
        "sample_rate": None,
    }
    task, model = _parts(TAGS, wavenet, NOTES)
    assert (
        task.sample_rate == 44100
        and task.conditioning.pitches == (50, 60)
        and task.conditioning.families == 2
    )
    assert (
        model.conditioning == 11 + 1 + 2
        and model.sample_rate == 44100
        and model.frames_per_second == 44100.0
    )


def test_what_nobody_decides_is_left_to_the_class() -> None:
    assert agreement.complete_model(FDNN) == {
        "name": "fdnn",
        "_target_": FDNN["_target_"],
        "width": 4,
    }
    kept = {
        "_target_": "audioprune.tasks.adversarial.Adversarial",
        "level": None,
        "hop_length": None,
    }
    assert agreement.complete_task(kept) == {"_target_": kept["_target_"], "level": None}


def test_coded_segments_decide_the_frames() -> None:
    adversarial = {
        "_target_": "audioprune.tasks.adversarial.Adversarial",
        "frame_length": None,
        "hop_length": None,
    }
    adversarial["discriminator"] = {"channels": [1, 1]}
    corpus = Sharing(sample_rate=16000, frame_length=4096)
    task = instantiate(agreement.complete_task(adversarial, corpus))
    assert task.frames.length == 4096 and task.hop_length == 2048
    with pytest.raises(ConfigError, match=r"task.frame_length as data.segment, got 8192 and 4096"):
        agreement.complete_task({**adversarial, "frame_length": 8192}, corpus)
    with pytest.raises(
        ConfigError, match="expected task.frame_length as a multiple of 4 from 12 on, got 4098"
    ):
        agreement.check_parts(
            DCAE(channels=[1, 1], kernel_size=9),
            SimpleNamespace(frames=SimpleNamespace(length=4098)),
            None,
        )


@pytest.mark.parametrize(
    ("group", "given", "message"),
    [
        (
            "task",
            {"sample_rate": 48000},
            r"expected task.sample_rate as data.sample_rate, got 48000 and 16000; leave "
            r"task.sample_rate out",
        ),
        (
            "task",
            {"classes": 10},
            r"expected task.classes as the number of classes of the corpus, got 10 and 3",
        ),
        ("model", {"classes": 10}, r"expected model.classes as task.classes, got 10 and 3"),
        ("model", {"mels": 64}, r"expected model.mels as data.mels, got 64 and 48"),
        (
            "model",
            {"frames_per_second": 100.0},
            r"expected model.frames_per_second as the frames .*, got 100.0 and 40.0",
        ),
    ],
)
def test_a_contradiction_names_both_sides(group: str, given: dict[str, Any], message: str) -> None:
    task, model = (
        {**SCENES, **(given if group == "task" else {})},
        {**VGG, **(given if group == "model" else {})},
    )
    with pytest.raises(ConfigError, match=message):
        _parts(task, model, CLIPS)


def test_tags_may_know_more_than_the_corpus_but_not_less() -> None:
    wide = agreement.complete_task({**TAGS, "pitches": [0, 127], "families": 11}, NOTES)
    assert wide["pitches"] == [0, 127] and wide["families"] == 11
    for key, value in (("pitches", [50, 59]), ("families", 1), ("instruments", 2)):
        with pytest.raises(ConfigError, match=f"expected task.{key} as"):
            agreement.complete_task({**TAGS, key: value}, NOTES)
    untold = agreement.complete_task(
        {**TAGS, "families": 0, "conditioning": "none", "pitches": [50, 59]}, NOTES
    )
    assert untold["families"] == 0 and untold["pitches"] == [50, 59]


@pytest.mark.parametrize(
    ("model", "task", "corpus", "message"),
    [
        (
            {**VGG, "channels": 1},
            SCENES,
            CLIPS,
            "expected VGG.channels as the channels of the corpus' features, got 1 and 2",
        ),
        (
            {"_target_": "audioprune.models.gcrn.GCRN", "width": 0.0625},
            RATIO_MASK,
            None,
            r"expected GCRN.bins as task.frame_length / 2 \+ 1, got 161 and 257",
        ),
        (
            {"_target_": "audioprune.models.tcnn.TCNN", "width": 0.0625},
            {**RATIO_MASK, "target": "waveform"},
            None,
            "expected TCNN.frame_length as task.frame_length, got 320 and 512",
        ),
    ],
)
def test_models_of_one_size_are_compared(
    model: dict[str, Any], task: dict[str, Any], corpus: Any, message: str
) -> None:
    frames = {} if corpus else {"frame_length": 512, "hop_length": 160}
    built, network = _parts({**task, **frames}, model, corpus)
    with pytest.raises(ConfigError, match=message):
        agreement.check_parts(network, built, corpus)


def test_items_within_the_receptive_field_are_refused_before_work() -> None:
    with pytest.raises(ConfigError, match="expected items of more than 1025 samples, .* got 900"):
        agreement.check_parts(
            WaveNet(layers=10, cycles=1, residual=1, gate=1, skip=1, end=1), None, NOTES
        )


def test_a_stored_model_is_not_scored_at_another_rate() -> None:
    stored = {**RATIO_MASK, "sample_rate": 16000}
    with pytest.raises(
        ConfigError, match=r"of the checkpoint, got 48000 and 16000; give data.sample_rate=16000"
    ):
        agreement.complete_task(stored, SimpleNamespace(sample_rate=48000), stored=True)


@pytest.fixture
def speech(tmp_path: Path) -> dict[str, Any]:
    plain = config(
        {"score": step("Evaluate", variant="uncompressed", file="model.safetensors")},
        tmp_path / "cache",
    )
    plain["model"] |= {"bins": None, "frames_per_second": None}
    plain["task"] |= {"sample_rate": None}
    return plain


def test_eight_kilohertz_are_scored_as_eight_kilohertz(
    speech: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    import soundfile

    rates: list[int] = []
    built = Scorer.__init__

    def noted(self: Scorer, metrics: Any, sample_rate: int, *rest: Any) -> None:
        rates.append(sample_rate)
        built(self, metrics, sample_rate, *rest)

    monkeypatch.setattr(Scorer, "__init__", noted)
    speech["data"] = {"name": "slow", "_target_": f"{__name__}.SlowSpeech"}
    speech["scoring"] |= {"metrics": ["si_sdr", "pesq_wb"]}
    start(tmp_path / "run", speech)
    mixture = next(row for row in rows(tmp_path / "run") if row["variant"] == "mixture")
    assert (
        rates == [8000]
        and mixture["metrics"]["pesq_wb"] is None
        and mixture["metrics"]["si_sdr"] is not None
    )
    assert all(
        "wide-band PESQ needs 16000 Hz or more, got 8000 Hz" in reason
        for reason in mixture["failures"]
    )
    assert "scores: pesq_wb is left out: wide-band PESQ needs 16000 Hz or more" in caplog.text
    kept = next((tmp_path / "run" / "audio").rglob("*.flac"))
    assert soundfile.info(kept).samplerate == 8000


def test_costs_are_counted_at_the_frames_of_the_task(
    speech: dict[str, Any], tmp_path: Path
) -> None:
    start(tmp_path / "run", speech)
    size = next(row for row in rows(tmp_path / "run") if row["kind"] == "size")
    weights = 17 * 6 + 6 * 6 + 6 * 17
    assert size["macs_per_second"] == weights * 16000 / 16
    assert (
        open_run(
            tmp_path / "again", {**speech, "checkpoint": str(tmp_path / "run")}
        ).model.frames_per_second
        == 1000.0
    )


def test_a_checkpoint_on_a_corpus_of_another_rate_is_refused(
    speech: dict[str, Any], tmp_path: Path
) -> None:
    start(tmp_path / "run", speech)
    other = {
        **speech,
        "checkpoint": str(tmp_path / "run"),
        "data": {"name": "slow", "_target_": f"{__name__}.SlowSpeech"},
    }
    with pytest.raises(ConfigError, match="got 8000 and 16000; give data.sample_rate=16000"):
        open_run(tmp_path / "other", other, ("data=slow",))


def test_rates_are_compared_before_the_corpus_is_prepared(
    speech: dict[str, Any], tmp_path: Path
) -> None:
    speech["data"] = {"name": "slow", "_target_": f"{__name__}.Unprepared"}
    for group in ("task", "model"):
        with pytest.raises(
            ConfigError,
            match=f"expected {group}.sample_rate as data.sample_rate, got 16000 and 8000",
        ):
            open_run(tmp_path / "run", {**speech, group: {**speech[group], "sample_rate": 16000}})


def test_a_users_model_of_another_frame_rate_is_refused(
    speech: dict[str, Any], tmp_path: Path
) -> None:
    speech["model"] = {"name": "own", "_target_": f"{__name__}.Fixed"}
    with pytest.raises(
        ConfigError,
        match=r"expected Fixed.frames_per_second as the frames per second of the task.*, got 100 "
        r"and 1000",
    ):
        open_run(tmp_path / "run", speech)


def test_training_cannot_choose_by_a_score_that_the_rate_forbids(
    speech: dict[str, Any], tmp_path: Path
) -> None:
    speech["data"] = {"name": "slow", "_target_": f"{__name__}.SlowSpeech"}
    speech["training"] |= {"monitor": "pesq_wb"}
    with pytest.raises(
        ConfigError,
        match=r"training.monitor: expected a metric for 8000 Hz, got pesq_wb \(wide-band PESQ "
        r"needs",
    ):
        open_run(tmp_path / "run", speech)


def test_a_plain_state_dict_gets_the_classes_of_the_corpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from audioprune.experiment.build import _load

    class Clips(Sharing):
        def __init__(self) -> None:
            super().__init__(**CLIPS.numbers)

        def prepare(self) -> None:
            """Nothing is needed."""

    monkeypatch.setattr(
        "audioprune.experiment.build.instantiate",
        lambda node: Clips() if node["_target_"] == "clips" else instantiate(node),
    )
    torch.save(
        build_model({**agreement.complete_model(VGG), "classes": 3}, trusted=True).state_dict(),
        tmp_path / "weights.pt",
    )
    plain = {
        "checkpoint": str(tmp_path / "weights.pt"),
        "data": {"_target_": "clips"},
        "task": SCENES,
        "model": VGG,
    }
    loaded = _load(plain)
    assert loaded is not None and loaded.model.classes == 3


def test_what_follows_contradicts_no_stored_model() -> None:
    node = {"classes": 3, "width": 1}
    assert stored.differing({"classes": None, "width": 1}, node) == []
    assert stored.differing({"classes": 4}, node) == ["classes"] and stored.differing(
        {"width": None}, node
    ) == ["width"]
