"""What models are told of notes: frequencies, loudness, mel spectra and tags."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from audioprune.errors import ConfigError, DataError
from audioprune.tasks.notes.note_features import (
    Conditioning,
    controls,
    frequency_of,
    harmonics,
    loudness_curve,
    played_loudness,
)


def _tone(frequency: float, level: float, length: int = 8000) -> torch.Tensor:
    return level * torch.sin(2 * math.pi * frequency * torch.arange(length) / 16000)[None]


def _batch(length: int = 8000) -> dict[str, Any]:
    audio = torch.cat([_tone(440, 0.5, length), _tone(261.63, 0.25, length)])
    tags = {"pitch": [69, 60], "velocity": [127, 25], "family": [2, 0], "instrument": [1, 3]}
    return {"audio": audio, **{key: torch.tensor(values) for key, values in tags.items()}}


def test_midi_pitches_are_frequencies() -> None:
    assert frequency_of(torch.tensor([69, 57, 60, 0])).tolist() == pytest.approx(
        [440, 220, 261.6256, 8.1758], rel=1e-5
    )


def test_harmonics_are_sines_and_cosines_below_half_the_rate() -> None:
    waves = harmonics(torch.tensor([69, 117]), 3, 48000, 16000)
    assert waves.shape == (2, 6, 48000)
    times = torch.arange(48000, dtype=torch.float64) / 16000
    for place, multiple in enumerate((1, 2, 3)):
        phase = 2 * math.pi * 440 * multiple * times
        assert (waves[0, place] - torch.sin(phase)).abs().max() < 1e-4
        assert (waves[0, 3 + place] - torch.cos(phase)).abs().max() < 1e-4
    # 7040 Hz: the second harmonic would be above 8000 Hz
    assert waves[1, 0].any() and not waves[1, 1:3].any() and not waves[1, 4:].any()


def test_harmonics_stand_behind_the_tags() -> None:
    plain, tuned = Conditioning("note"), Conditioning("note", harmonics=2)
    assert tuned.channels == plain.channels + 4
    features = tuned.of(_batch(), 20)
    assert features is not None and torch.equal(features[:, :129], plain.of(_batch(), 20))
    assert torch.equal(features[:, 129:], harmonics(_batch()["pitch"], 2, 20, 16000))
    with pytest.raises(ConfigError, match="expected harmonics"):
        Conditioning("note", harmonics=-1)


def test_loudness_is_the_level_of_blocks() -> None:
    curve = loudness_curve(torch.cat([_tone(1000, 1.0, 800), torch.zeros(1, 800)], 1))
    assert curve.shape == (1, 10) and curve[0, :5].tolist() == pytest.approx(
        [math.sqrt(0.5)] * 5, abs=1e-5
    )
    assert curve[0, 5:].tolist() == [0.0] * 5


def test_weighted_loudness_is_in_decibels_and_knows_the_ear() -> None:
    full, quiet, low, silent = (
        float(loudness_curve(signal, "a_weighted")[0, 2])
        for signal in (_tone(1000, 1.0), _tone(1000, 0.1), _tone(100, 1.0), torch.zeros(1, 8000))
    )
    assert full - quiet == pytest.approx(20 / 80, abs=0.01) and full == pytest.approx(
        1 - 3.01 / 80, abs=0.02
    )
    assert low < full - 10 / 80 and silent == 0
    with pytest.raises(ConfigError, match="unknown loudness"):
        loudness_curve(torch.zeros(1, 160), "lufs")


def test_controls_are_frequency_and_loudness_of_whole_frames() -> None:
    curves, audio = controls(_batch(8100))
    assert curves.shape == (2, 50, 2) and audio.shape == (2, 8000)
    assert curves[:, 7, 0].tolist() == pytest.approx([440, 261.6256], rel=1e-5)
    assert curves[0, 7, 1] == pytest.approx(0.5 * math.sqrt(0.5), abs=0.02)
    with pytest.raises(DataError, match="expected at least 160 samples, got 100"):
        controls({"audio": torch.zeros(1, 100), "pitch": torch.tensor([60])})


def test_an_imagined_note_is_held_and_released() -> None:
    curve = played_loudness(torch.tensor([60, 60]), torch.tensor([127, 25]), 100)
    level = 0.65 / math.sqrt(2)
    assert curve.shape == (2, 100) and curve[0, 10:75].tolist() == pytest.approx(
        [level] * 65, rel=0.1
    )
    assert curve[0, 0] < 0.5 * level and curve[0, -1] < 0.02 * level and curve[1, 50] < 0.2 * level
    given = {**_batch(), "loudness": torch.rand(2, 50)}
    assert torch.equal(controls(given)[0][..., 1], given["loudness"])


def test_tags_name_pitch_velocity_family_and_instrument() -> None:
    conditioning = Conditioning("note", pitches=(60, 72), families=3, instruments=4)
    features = conditioning.of(_batch(), 5)
    assert (
        features.shape == (2, conditioning.channels, 5) and conditioning.channels == 13 + 1 + 3 + 4
    )
    assert torch.equal(features, features[..., :1].expand(-1, -1, 5))
    first = features[0, :, 0]
    assert (
        first.nonzero().flatten().tolist() == [9, 13, 16, 18]
        and first[13] == 1
        and features[1, 13, 0] == pytest.approx(25 / 127)
    )
    assert (
        Conditioning("note").channels == 129
        and Conditioning().channels == 0
        and Conditioning().of(_batch(), 5) is None
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"pitches": (60, 68)},
            "expected pitch within 60..68, got 69; widen task.pitches and model.conditioning, "
            "and train anew",
        ),
        ({"families": 2}, "expected family within 0..1, got 2; widen task.families"),
        ({"instruments": 3}, "expected instrument within 0..2, got 3; widen task.instruments"),
    ],
)
def test_unknown_tags_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Conditioning("note", **options).of(_batch(), 5)


def test_mel_features_follow_the_note() -> None:
    conditioning = Conditioning("mel", mels=40)
    audio = torch.cat([torch.zeros(1, 8000), _tone(440, 0.5)], 1)
    features = conditioning.of({"audio": audio}, 16000)
    assert features.shape == (1, 40, 16000) and conditioning.channels == 40
    assert features[0, :, :4000].abs().max() < 1e-6 and features[0, :, 12000].max() > 1
    high = conditioning.of(
        {"audio": torch.cat([torch.zeros(1, 8000), _tone(3000, 0.5)], 1)}, 16000
    )
    assert high[0, :, 12000].argmax() > features[0, :, 12000].argmax()


_PITCHES = "expected pitches as [lowest, highest] within 0..127, got {}; use [0, 127]"
_WHOLE = "expected {} as a whole number of at least {}, got {}; correct task.{}"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "pitch"}, "unknown conditioning 'pitch' (known: mel, none, note)"),
        ({"pitches": (72, 60)}, _PITCHES.format([72, 60])),
        ({"pitches": (60,)}, _PITCHES.format([60])),
        ({"pitches": (-1, 60)}, _PITCHES.format([-1, 60])),
        ({"pitches": (60, 128)}, _PITCHES.format([60, 128])),
        ({"mels": 0}, _WHOLE.format("mels", 1, 0, "mels")),
        ({"mels": 8.0}, _WHOLE.format("mels", 1, 8.0, "mels")),
        ({"families": -1}, _WHOLE.format("families", 0, -1, "families")),
        ({"families": 2.5}, _WHOLE.format("families", 0, 2.5, "families")),
        ({"instruments": -1}, _WHOLE.format("instruments", 0, -1, "instruments")),
    ],
)
def test_wrong_settings_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Conditioning(**options)
    assert str(caught.value) == message


def test_the_smallest_settings_are_taken() -> None:
    assert Conditioning("mel", mels=1).channels == 1
    for pitches in ((0, 0), (127, 127)):
        assert Conditioning("note", pitches=pitches, families=0, instruments=0).channels == 2


def test_what_is_not_given_is_that_of_the_source() -> None:
    found = Conditioning()
    assert (found.kind, found.mels, found.pitches, found.families, found.instruments) == (
        "none",
        80,
        (0, 127),
        0,
        0,
    )
    assert found.sample_rate == 16000
    audio = _tone(440, 0.5, 320)
    assert torch.equal(loudness_curve(audio), loudness_curve(audio, "rms", 16000, 160))
    batch = {"audio": audio, "pitch": torch.tensor([69])}
    assert torch.equal(controls(batch)[0], controls(batch, "rms", 16000, 160)[0])
    note = torch.tensor([69]), torch.tensor([100]), 4
    assert torch.equal(played_loudness(*note), played_loudness(*note, "rms", 16000, 160))


def test_an_imagined_note_by_its_formula() -> None:
    share = (torch.arange(8 * 160) + 0.5) / (8 * 160)
    seconds = share * 8 * 160 / 8000
    rise, fall = (
        (seconds / 0.02).clamp_max(1),
        torch.where(share > 0.75, 10 ** (-2 * (share - 0.75) / 0.25), 1.0),
    )
    level = 0.05 + 0.6 * (64 / 127) ** 1.5
    sine = level * torch.sin(2 * math.pi * 440 * seconds) * rise * fall
    expected = sine.reshape(8, 160).square().mean(1).sqrt()
    found = played_loudness(torch.tensor([69]), torch.tensor([64]), 8, "rms", 8000, 160)
    assert torch.allclose(found[0], expected, rtol=1e-4, atol=1e-6)
