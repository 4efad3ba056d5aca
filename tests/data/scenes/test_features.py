"""Features of scenes: shapes, values against librosa, normalisation, and the store on disk."""

from __future__ import annotations

import logging
import multiprocessing
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
from scene_trees import write_clip
from scipy.signal import get_window

from audioprune.data.scenes.features import (
    FeatureStore,
    SceneFeatures,
    _mel_and_weighting,
    measure_normalisation,
)
from audioprune.errors import ConfigError, DataError
from audioprune.files import sha256, sha256_file
from audioprune.torchaudio_loader import make_importable

SMALL = SceneFeatures(n_fft=512, hop_length=256, mels=16, duration_s=0.25)


def _noise(seed: int, length: int, channels: int = 2) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal((channels, length)).astype(np.float32)


@pytest.mark.parametrize(("sample_rate", "channels"), [(44100, 2), (48000, 2), (44100, 1)])
def test_ten_seconds_give_2_by_256_by_431(tmp_path: Path, sample_rate: int, channels: int) -> None:
    features = SceneFeatures()
    found = features.of_file(
        write_clip(tmp_path / "a.wav", 0, sample_rate=sample_rate, seconds=10, channels=channels)
    )
    assert found.shape == features.shape == (2, 256, 431) and found.dtype == np.float32
    assert np.isfinite(found).all() and found.flags.c_contiguous
    assert (channels == 1) == np.array_equal(found[0], found[1])


def _power(signal: np.ndarray, n_fft: int, hop_length: int) -> np.ndarray:
    """Return |STFT|^2, shape (bins, frames); librosa's own compiles for half a minute first."""
    padded = np.pad(signal, n_fft // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop_length]
    return np.abs(np.fft.rfft(frames * get_window("hann", n_fft))).T ** 2


@pytest.mark.slow  # importing librosa takes seconds
@pytest.mark.parametrize(
    "features",
    [
        SceneFeatures(duration_s=1.0),
        SceneFeatures(n_fft=1024, hop_length=300, mels=40, duration_s=1.0),
    ],
)
def test_values_are_those_of_librosa(features: SceneFeatures) -> None:
    signal = _noise(0, 22050)
    signal[:, 8000:14000] *= 1e-5  # more than 80 dB below the highest value
    signal[1] += 0.3 * np.sin(2 * np.pi * 1000 * np.arange(22050) / 22050, dtype=np.float32)
    found = features.compute(signal)
    frequencies = librosa.fft_frequencies(sr=22050, n_fft=features.n_fft)
    for channel, values in zip(signal, found, strict=True):
        power = _power(channel, features.n_fft, features.hop_length)
        with np.errstate(divide="ignore"):
            weighted = librosa.perceptual_weighting(
                power, frequencies, ref=1.0, amin=1e-10, top_db=80.0
            )
        filters = librosa.filters.mel(sr=22050, n_fft=features.n_fft, n_mels=features.mels)
        expected = filters @ weighted
        assert np.abs(values - expected).max() < 1e-4


def test_silence_is_finite() -> None:
    assert np.isfinite(SMALL.compute(np.zeros((2, SMALL.length), np.float32))).all()


def test_short_clips_are_repeated_and_long_ones_cut() -> None:
    clip = _noise(1, SMALL.length // 2)
    assert np.array_equal(SMALL.compute(clip), SMALL.compute(np.tile(clip, 3)[:, : SMALL.length]))
    long = _noise(2, 3 * SMALL.length)
    assert np.array_equal(SMALL.compute(long), SMALL.compute(long[:, : SMALL.length]))
    assert SMALL.compute(clip[:, :1]).shape == SMALL.shape


def test_more_than_two_channels_are_averaged() -> None:
    clip = _noise(3, SMALL.length, channels=6)
    assert np.array_equal(SMALL.compute(clip), SMALL.compute(clip.mean(axis=0, keepdims=True)))


def test_only_the_begin_of_a_long_file_is_decoded_to_the_same_values(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.wav", 0, sample_rate=22050, seconds=2, subtype="FLOAT")
    whole = soundfile.read(path, dtype="float32")[0].T
    assert np.array_equal(SMALL.of_file(path), SMALL.compute(whole))


@pytest.mark.parametrize(
    "values",
    [
        {"sample_rate": 10},
        {"n_fft": 33},
        {"n_fft": 2048.0},
        {"hop_length": 0},
        {"hop_length": 4096},
        {"mels": 0},
        {"mels": 2000},
        {"mels": True},
        {"duration_s": 0.01},
        {"duration_s": float("nan")},
        {"duration_s": 1e6},
    ],
)
def test_values_out_of_range_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(values))):
        SceneFeatures(**values)


def test_mel_bands_without_a_frequency_are_refused() -> None:
    with pytest.raises(ConfigError, match="of 200 without one; use fewer mels"):
        SceneFeatures(n_fft=512, mels=200).compute(_noise(0, 220500))


def test_the_key_stands_for_every_number() -> None:
    keys = {
        SceneFeatures().key(),
        SceneFeatures(mels=64).key(),
        SceneFeatures(hop_length=256).key(),
        SceneFeatures(duration_s=9).key(),
    }
    assert len(keys) == 4 and SceneFeatures(duration_s=10).key() == SceneFeatures().key()


def test_normalisation_is_that_of_all_values_of_a_band() -> None:
    clips = [SMALL.compute(_noise(seed, SMALL.length) * (seed + 1)) for seed in range(4)]
    found = measure_normalisation(clips)
    every = np.stack(clips).astype(np.float64)
    assert np.allclose(found.mean, every.mean(axis=(0, 1, 3)), atol=1e-5)
    assert np.allclose(found.std, every.std(axis=(0, 1, 3)), rtol=1e-4)
    normal = np.stack([found.apply(clip) for clip in clips])
    assert normal.dtype == np.float32
    assert np.allclose(normal.mean(axis=(0, 1, 3)), 0, atol=1e-4) and np.allclose(
        normal.std(axis=(0, 1, 3)), 1, rtol=1e-3
    )


def test_a_constant_band_stays_finite_and_no_clips_are_refused() -> None:
    assert np.isfinite(
        measure_normalisation([np.ones((2, 3, 4), np.float32)]).apply(
            np.ones((2, 3, 4), np.float32)
        )
    ).all()
    with pytest.raises(DataError, match="expected training clips"):
        measure_normalisation([])


def test_features_are_kept_by_content(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.wav", 0)
    content = sha256_file(path)
    first = FeatureStore(SMALL, str(tmp_path / "cache"))
    assert not first.has(content)
    found = first.get(path, content)
    path.unlink()  # what follows comes from memory and from disk
    assert np.array_equal(first.get(path, content), found)
    second = FeatureStore(SMALL, str(tmp_path / "cache"), memory_bytes=0)
    assert second.has(content) and np.array_equal(second.get(path, content), found)
    assert not FeatureStore(
        SceneFeatures(n_fft=512, hop_length=128, mels=16, duration_s=0.25), str(tmp_path / "cache")
    ).has(content)


@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_damaged_features_are_computed_again(tmp_path: Path, damage: str) -> None:
    path = write_clip(tmp_path / "a.wav", 0)
    content = sha256_file(path)
    found = FeatureStore(SMALL, str(tmp_path / "cache")).get(path, content)
    (stored,) = (tmp_path / "cache").rglob("*.f32")
    good = stored.read_bytes()
    bad = bytearray(good)
    bad[100] ^= 1
    stored.write_bytes({"flip": bytes(bad), "cut": good[:-4], "empty": b""}[damage])
    assert np.array_equal(FeatureStore(SMALL, str(tmp_path / "cache")).get(path, content), found)
    assert stored.read_bytes() == good


def test_a_cache_that_cannot_be_written_costs_time_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_clip(tmp_path / "a.wav", 0)
    content = sha256_file(path)
    store = FeatureStore(SMALL, str(tmp_path / "cache"))
    (store._place(content) / "in the way").mkdir(
        parents=True
    )  # a folder with the name of the file
    with caplog.at_level(logging.WARNING):
        found = store.get(path, content)
    assert np.array_equal(found, SMALL.of_file(path)) and "computed again" in caplog.text


def test_memory_stays_within_its_budget(tmp_path: Path) -> None:
    paths = [write_clip(tmp_path / f"{seed}.wav", seed) for seed in range(4)]
    one = 4 * int(np.prod(SMALL.shape))
    store = FeatureStore(SMALL, str(tmp_path / "cache"), memory_bytes=2 * one)
    for path in paths:
        store.get(path, sha256_file(path))
    assert store._held_bytes == 2 * one == sum(held.nbytes for held in store._held.values())


def _hash_of_all(job: tuple[list[Path], str]) -> str:
    """Return a hash of the features of files, got through a store of its own."""
    paths, cache_dir = job
    store = FeatureStore(SMALL, cache_dir)
    return sha256(b"".join(store.get(path, sha256_file(path)).tobytes() for path in paths))


def test_several_processes_share_a_folder(tmp_path: Path) -> None:
    paths = [write_clip(tmp_path / f"{seed}.wav", seed) for seed in range(8)]
    cache_dir = str(tmp_path / "cache")
    SMALL.warm_up()
    with multiprocessing.get_context("fork").Pool(3) as pool:
        found = pool.map(_hash_of_all, [(paths, cache_dir)] * 3, chunksize=1)
    assert set(found) == {_hash_of_all((paths, cache_dir))}
    assert len(list((tmp_path / "cache").rglob("*.f32*"))) == 8


def test_normalisation_is_remembered_and_verified(tmp_path: Path) -> None:
    store = FeatureStore(SMALL, str(tmp_path))
    clips = [SMALL.compute(_noise(0, SMALL.length))]
    found = store.normalisation("a" * 64, lambda: clips)

    def never() -> list[np.ndarray]:
        raise AssertionError("measured again")

    again = FeatureStore(SMALL, str(tmp_path)).normalisation("a" * 64, never)
    assert np.array_equal(again.mean, found.mean) and np.array_equal(again.std, found.std)
    (stored,) = tmp_path.rglob("normalisation-*.json")
    stored.write_text(stored.read_text().replace("0", "1", 1))
    assert np.array_equal(store.normalisation("a" * 64, lambda: clips).mean, found.mean)


def test_mel_filters_are_those_of_torchaudio() -> None:
    make_importable()
    from torchaudio.functional import melscale_fbanks

    ours, _ = _mel_and_weighting(44100, 2048, 256)
    theirs = melscale_fbanks(1025, 0.0, 22050.0, 256, 44100, "slaney", "slaney").T.numpy()
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * ours.max())
