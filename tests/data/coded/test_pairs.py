from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from speech_trees import RATE, tone, write

from audioprune.data.coded.alignment import measure_lag
from audioprune.data.coded.pairs import CleanSignals, CodecCoding, Coded, Coding, build_coding
from audioprune.data.files.audio import AudioStore
from audioprune.data.files.checks import inspect_file
from audioprune.data.splits.sources import Source
from audioprune.errors import ConfigError, DataError


def _sources(
    root: Path, seconds: tuple[float, ...] = (0.7, 0.8, 0.9), rate: int = RATE
) -> list[Source]:
    found = []
    for number, split in zip(range(len(seconds)), ("train", "valid", "test"), strict=False):
        path = write(
            root / f"p{number}" / f"p{number}_1.wav", tone(seconds[number], number, rate), rate
        )
        fact = inspect_file(path)
        found.append(
            Source(
                path,
                path.relative_to(root).as_posix(),
                split,
                f"p{number}",
                fact.sha256,
                fact.duration_s,
                fact.level,
            )
        )
    return found


def _decoded(
    root: Path,
    sources: list[Source],
    late: int = 0,
    rate: int = RATE,
    extra: int = 0,
    suffix: str = ".wav",
) -> Path:
    """Write what a codec might make of the sources: a little noise, a delay, padding."""
    for number, source in enumerate(sources):
        clean = soundfile.read(str(source.path))[0]
        coded = 0.5 * clean + 0.01 * np.random.default_rng(number + 900).standard_normal(
            len(clean)
        )
        coded = np.concatenate(
            [np.zeros(max(late, 0)), coded[max(-late, 0) :], np.zeros(max(extra, 0))]
        )
        write(
            (root / source.relative).with_suffix(suffix), coded[: len(coded) + min(extra, 0)], rate
        )
    return root


def _signals(coded: Coded) -> list[tuple[np.ndarray, np.ndarray]]:
    store = AudioStore(RATE, 0)
    return [(store.whole(pair.clean.path), store.whole(pair.noisy.path)) for pair in coded.pairs]


def _codec(tmp_path: Path, **options) -> CodecCoding:
    clean = CleanSignals(RATE, str(tmp_path / "cache"), options.pop("peak", None))
    coding = build_coding(clean, **{"codec": "aac", "kbps": 64.0, **options})
    assert isinstance(coding, CodecCoding)
    return coding


def test_a_codec_gives_aligned_partners_and_says_its_bitrate(tmp_path: Path) -> None:
    pytest.importorskip("av", reason="needs audioprune[codec]")
    sources = _sources(tmp_path / "clean")
    coded = _codec(tmp_path).pair([*sources, sources[0]])
    assert [pair.clean.relative for pair in coded.pairs] == [
        source.relative for source in [*sources, sources[0]]
    ]
    for clean, decoded in _signals(coded):
        assert (
            len(clean) == len(decoded)
            and measure_lag(clean, decoded, RATE).samples == 0
            and not np.array_equal(clean, decoded)
        )
    assert (
        coded.pairs[0].clean.path == sources[0].path
        and coded.pairs[0].noise == "aac-64k"
        and coded.pairs[0].snr_db is None
    )
    facts = coded.facts
    assert (facts["label"], facts["encoder"], facts["kbps"], facts["lag"]) == (
        "aac-64k",
        "aac",
        64.0,
        0,
    )
    assert (
        facts["payload_kbps"] == pytest.approx(64, rel=0.2) and facts["libavcodec"].count(".") == 2
    )
    assert f"{facts['payload_kbps']:.2f} kbit/s" in coded.notes[0]
    place = coded.pairs[0].noisy.path
    assert (
        place.parent.name == f"aac-64k-16000-{facts['libavcodec']}"
        and place.parent.parent == tmp_path / "cache" / "coded"
    )


def test_what_is_cached_needs_no_encoder_and_gives_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("av", reason="needs audioprune[codec]")
    sources = _sources(tmp_path / "clean")
    first = _codec(tmp_path).pair(sources)
    monkeypatch.setattr(
        "audioprune.data.coded.codec.Codec.round_trip", lambda *_: pytest.fail("coded again")
    )
    again = _codec(tmp_path).pair(sources)
    assert again.pairs == first.pairs and again.facts == first.facts
    monkeypatch.undo()
    assert _codec(tmp_path, kbps=32).pair(sources).pairs[0].noisy.path != first.pairs[0].noisy.path


def test_other_rates_and_peaks_get_a_copy_of_the_clean_side(tmp_path: Path) -> None:
    pytest.importorskip("av", reason="needs audioprune[codec]")
    sources = _sources(tmp_path / "clean", rate=48000)
    coded = _codec(tmp_path).pair(sources)
    assert (
        coded.pairs[0].clean.path.parent.name == "clean-16000"
        and coded.pairs[0].clean.sha256 == sources[0].sha256
    )
    assert (
        soundfile.info(str(coded.pairs[0].clean.path)).frames
        == 0.7 * RATE
        == len(_signals(coded)[0][1])
    )
    loud = _codec(tmp_path, peak=0.9).pair(sources)
    assert (
        loud.pairs[0].clean.path.parent.name == "clean-16000-peak0.9"
        and "-peak0.9-" in loud.pairs[0].noisy.path.parent.name
    )
    for clean, decoded in _signals(loud):
        assert np.abs(clean).max() == pytest.approx(0.9) and np.abs(decoded).max() > 0.5
    assert loud.pairs[0].clean.level > 1.5 * sources[0].level


def test_a_wish_that_the_codec_does_not_meet_is_told(tmp_path: Path) -> None:
    pytest.importorskip("av", reason="needs audioprune[codec]")
    coding = build_coding(CleanSignals(48000, str(tmp_path / "cache"), 1.0), "mp3", 24.0)
    notes = coding.pair(_sources(tmp_path / "clean", rate=48000)).notes
    assert any(note.startswith("mp3-24k spends 3") for note in notes)


def test_a_codec_that_comes_back_late_or_above_full_scale_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("av", reason="needs audioprune[codec]")
    from audioprune.data.coded.codec import Codec, CodedSignal

    late = lambda _, samples: CodedSignal(9 * np.roll(samples, 50), 4000, 64.0)  # noqa: E731
    monkeypatch.setattr(Codec, "round_trip", late)
    coded = _codec(tmp_path).pair(_sources(tmp_path / "clean"))
    assert coded.facts["lag"] == 50 and any(
        "p2_1.wav comes back 50 samples late" in note for note in coded.notes
    )
    assert any("3 of 3 coded files exceed full scale" in note for note in coded.notes)


def test_a_missing_extra_is_told_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = _sources(tmp_path / "clean")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ConfigError, match=r"pip install 'audioprune\[codec\]'"):
        _codec(tmp_path).pair(sources)
    assert not (tmp_path / "cache").exists()


def _folder(tmp_path: Path, root: Path, delay: int = 0) -> Coding:
    return build_coding(CleanSignals(RATE, str(tmp_path / "cache")), "aac", 24.0, root, delay)


def test_decoded_files_that_fit_are_used_as_they_are(tmp_path: Path) -> None:
    sources = _sources(tmp_path / "clean")
    root = _decoded(tmp_path / "coded", sources, suffix=".flac")
    write(root / "p9" / "p9_1.wav", tone(0.5, 1))
    coded = _folder(tmp_path, root).pair(sources)
    assert [pair.noisy.path for pair in coded.pairs] == [
        (root / source.relative).with_suffix(".flac") for source in sources
    ]
    assert (
        coded.facts == {"label": "coded", "coded_root": str(root), "delay": 0}
        and coded.pairs[0].noise == "coded"
    )
    assert coded.problems == [] and "1 files belong to no clean file" in coded.notes[0]


@pytest.mark.parametrize(
    ("late", "extra", "delay"),
    [(0, 700, 0), (0, -300, 0), (1024, 500, 1024), (-40, 0, -40), (1024, -1024, 1024)],
)
def test_padding_and_a_known_delay_are_cut_off(
    tmp_path: Path, late: int, extra: int, delay: int
) -> None:
    sources = _sources(tmp_path / "clean")
    coded = _folder(
        tmp_path, _decoded(tmp_path / "coded", sources, late, extra=extra), delay
    ).pair(sources)
    for clean, decoded in _signals(coded):
        assert len(clean) == len(decoded)
        middle = slice(50, -1100)
        assert np.abs(decoded - 0.5 * clean)[middle].max() < 0.06
    assert any("silence is added" in note for note in coded.notes) == (late + extra - delay < 0)


@pytest.mark.parametrize("late", [1024, -25])
def test_a_delay_is_measured_and_refused(tmp_path: Path, late: int) -> None:
    sources = _sources(tmp_path / "clean")
    with pytest.raises(
        DataError, match=f"got it {late} samples late at 16000 Hz; .* data.coded_delay={late}$"
    ):
        _folder(tmp_path, _decoded(tmp_path / "coded", sources, late)).pair(sources)


def test_other_audio_and_wrong_folders_are_refused(tmp_path: Path) -> None:
    sources = _sources(tmp_path / "clean")
    wrong = tmp_path / "wrong"
    for number, source in enumerate(sources):
        write(wrong / source.relative, tone(0.9, 70 + number))
    with pytest.raises(DataError, match="got other audio"):
        _folder(tmp_path, wrong).pair(sources)
    with pytest.raises(DataError, match="coded_root, got .*absent"):
        _folder(tmp_path, tmp_path / "absent").pair(sources)
    write(tmp_path / "other" / "name.wav", tone(0.5, 1))
    with pytest.raises(DataError, match="files named like the clean ones"):
        _folder(tmp_path, tmp_path / "other").pair(sources)


def test_missing_bad_and_short_partners_are_problems(tmp_path: Path) -> None:
    sources = _sources(tmp_path / "clean")
    root = _decoded(tmp_path / "coded", sources)
    (root / sources[0].relative).unlink()
    (root / sources[1].relative).write_bytes(b"RIFF")
    coded = _folder(tmp_path, root).pair(sources)
    assert [finding.code for finding in coded.problems] == ["partner", "unreadable"] and len(
        coded.pairs
    ) == 1
    write(root / sources[0].relative, soundfile.read(str(sources[0].path))[0][:8000])
    found = _folder(tmp_path, root).pair(sources).problems
    assert [finding.code for finding in found] == [
        "unreadable",
        "length",
    ] and "0.2 s shorter" in found[1].reason


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"coded_delay": 5}, "together with coded_root"),
        ({"label": "evs"}, "together with coded_root"),
        ({"codec": "acc"}, "closest: aac"),
        ({"coded_root": "x", "peak": 0.9}, "peak without coded_root"),
    ],
)
def test_wrong_options_are_refused(options: dict, message: str) -> None:
    clean = CleanSignals(RATE, peak=options.pop("peak", None))
    with pytest.raises(ConfigError, match=message):
        build_coding(clean, **{"codec": "aac", "kbps": 24.0, **options})
