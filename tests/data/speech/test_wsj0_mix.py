"""The paper's corpus of WSJ0."""

from __future__ import annotations

from pathlib import Path

import pytest
from speech_trees import HOSTILE, noise_tree, tone, write

from audioprune.data.speech import wsj0_mix
from audioprune.data.speech.wsj0_mix import PaperNumbers, Wsj0Mix, find_speech
from audioprune.errors import ConfigError, DataError


def _wsj0(root: Path, speakers: int = 8, utterances: int = 2, suffix: str = "wav") -> Path:
    for speaker in range(speakers):
        for number in range(utterances):
            name = f"{speaker:03d}c{number:04d}"
            write(
                root / "wsj0" / "si_tr_s" / f"{speaker:03d}" / f"{name}.{suffix}",
                tone(0.6, 50 * speaker + number),
            )
    return root


@pytest.fixture
def corpus(tmp_path: Path):
    """Return a function that makes the corpus over small trees."""
    root, noise = _wsj0(tmp_path / HOSTILE), noise_tree(tmp_path / "noise")

    def make(**options) -> Wsj0Mix:
        return Wsj0Mix(
            root, noise / "train", noise / "test", cache_dir=str(tmp_path / "cache"), **options
        )

    return make


def test_the_papers_numbers() -> None:
    numbers = PaperNumbers()
    assert sum(numbers.speakers) == 101 and numbers.utterances == 12776
    assert (numbers.train_mixtures, numbers.valid_mixtures, numbers.test_mixtures) == (
        320_000,
        846,
        846,
    )


def test_another_corpus_is_refused_with_what_was_found(corpus) -> None:
    with pytest.raises(DataError, match="expected utterances 12776, found 16") as error:
        corpus().prepare()
    for part in (
        "speakers (train, valid, test) (89, 6, 6), found (6, 1, 1)",
        "training noises 10000, found 3",
        "allow_partial=true",
    ):
        assert part in str(error.value)


def test_a_partial_corpus_is_scaled_and_says_so(corpus) -> None:
    made = corpus(allow_partial=True)
    assert len(made.train()) == round(16 / 12776 * 320_000) and len(made.valid()) == 1
    assert list(made.tests()) == [
        f"{noise}_{snr}dB" for noise in ("babble", "cafeteria") for snr in (-5, 0, 5)
    ]
    assert "partial: 16 of 12776 utterances" in made.scale() and any(
        "not the paper's corpus" in note for note in made.notes
    )
    assert made.train()[0]["snr_db"] in {-5.0, -4.0, -3.0, -2.0, -1.0, 0.0}
    items = made.train()
    items.set_epoch(3)
    assert items[0]["noisy"].equal(made.train()[0]["noisy"])
    sized = corpus(allow_partial=True, train_mixtures=5, test_mixtures=4)
    assert (len(sized.train()), len(sized.tests()["babble_-5dB"])) == (5, 4)
    assert sized.describe()["train"]["mixtures"] == 5 and len(sized.fingerprint()) == 64


def test_a_complete_corpus_has_the_papers_counts(corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    small = PaperNumbers(
        utterances=16,
        speakers=(6, 1, 1),
        train_mixtures=40,
        valid_mixtures=6,
        test_mixtures=4,
        train_noises=3,
        test_noises=2,
    )
    monkeypatch.setattr(wsj0_mix, "PaperNumbers", lambda: small)
    made = corpus()
    assert (len(made.train()), len(made.valid())) == (40, 6) and {
        len(items) for items in made.tests().values()
    } == {4}
    assert "partial" not in made.scale() and len(made.manifest()) > 30


def test_speakers_may_be_listed(corpus) -> None:
    listed = {
        "train": [f"{number:03d}" for number in range(5)],
        "valid": ["005"],
        "test": ["006", "007"],
    }
    facts = corpus(allow_partial=True, speakers=listed).describe()
    assert [facts[split]["speakers"] for split in ("train", "valid", "test")] == [5, 1, 2]


def test_si_tr_s_is_found_at_any_level(tmp_path: Path) -> None:
    root = _wsj0(tmp_path / "csr_1")
    wanted = root / "wsj0" / "si_tr_s"
    assert find_speech(root) == find_speech(root / "wsj0") == find_speech(wanted) == wanted
    with pytest.raises(DataError, match=f"point to {wanted}"):
        find_speech(wanted / "000")
    with pytest.raises(DataError, match="found no such folder"):
        find_speech(tmp_path / "nowhere")
    with pytest.raises(DataError, match="expected WSJ0 at .* found an empty folder"):
        (tmp_path / "empty").mkdir()
        find_speech(tmp_path / "empty")
    _wsj0(root / "disc2")
    with pytest.raises(DataError, match="put all speaker folders into one"):
        find_speech(root)


def test_packed_files_are_explained_and_ignored_beside_converted_ones(tmp_path: Path) -> None:
    noise = noise_tree(tmp_path / "noise")
    packed = (
        b"NIST_1A\n   1024\nsample_coding -s26 pcm,embedded-shorten-v2.00\nend_head\n"
        + b"\0" * 2000
    )
    only = tmp_path / "packed" / "wsj0" / "si_tr_s"
    for number in range(8):
        (only / f"{number:03d}").mkdir(parents=True)
        (only / f"{number:03d}" / "a.wv1").write_bytes(packed)
    options = {"cache_dir": str(tmp_path / "cache"), "allow_partial": True}
    with pytest.raises(DataError, match="sph2pipe -f wav in.wv1 out.wav"):
        Wsj0Mix(tmp_path / "packed", noise / "train", noise / "test", **options).prepare()
    both = _wsj0(tmp_path / "both")
    (both / "wsj0" / "si_tr_s" / "000" / "000c0000.wv1").write_bytes(packed)
    facts = Wsj0Mix(both, noise / "train", noise / "test", **options).describe()
    assert sum(facts[split]["utterances"] for split in ("train", "valid", "test")) == 16


def test_wrong_options_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="babble_share"):
        Wsj0Mix(tmp_path, tmp_path / "a", tmp_path / "b", babble_share=-1.0)


def test_flat_names_of_wsj_say_the_speaker(tmp_path: Path) -> None:
    for speaker in range(5):
        for number in range(2):
            write(
                tmp_path / "si_tr_s" / f"{speaker:03d}c{number:04d}.wav",
                tone(0.6, 50 * speaker + number),
            )
    noise = noise_tree(tmp_path / "noise", 1.0)
    made = Wsj0Mix(
        tmp_path,
        noise / "train",
        noise / "test",
        cache_dir=str(tmp_path / "cache"),
        allow_partial=True,
    )
    assert [made.describe()[split]["speakers"] for split in ("train", "valid", "test")] == [
        3,
        1,
        1,
    ]
    assert {record["group"] for record in made.manifest() if record.get("role") == "speech"} == {
        f"{number:03d}" for number in range(5)
    }
