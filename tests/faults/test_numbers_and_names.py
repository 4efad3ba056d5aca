"""Odd numbers, audio and names through the verbs: it works, or one line says what to do."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from faults.record import record
from hydra.core.global_hydra import GlobalHydra
from speech_trees import noise_tree, speech_tree, tone, write

from audioprune import cli

SMALL = [
    *("data=noisy_mixtures", "data.babble_share=0", "data.train_mixtures=4"),
    *("data.valid_mixtures=2", "data.test_mixtures=1", "data.test_snr_db=[-5]"),
]
TRAIN = ["model.width=4", "model.depth=2", "training.epochs=1"]
REST = [
    *("scoring.metrics=[si_sdr]", "scoring.latency_repeats=0", "runtime.metric_workers=0"),
    *("runtime.device=cpu", "runtime.folder=runs"),
]
CORPUS = ["data.speech_root=corpus/speech", "data.noise_root=corpus/noise"]
MODEL = "checkpoint=model.safetensors"
Told = tuple[int, str]


said: list[str] = []
"""What the verbs printed as errors."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small corpus and a model that was trained on it."""
    folder = tmp_path_factory.mktemp("made")
    speech_tree(folder / "corpus" / "speech", speakers=2, utterances=1)
    noise_tree(folder / "corpus" / "noise", seconds=2.0)
    with pytest.MonkeyPatch.context() as patch:
        _prepare(patch, folder)
        assert cli.run_verb("train", [*SMALL, *CORPUS, *TRAIN, *REST]) == 0
        (model,) = Path("runs/train").glob("*/model.safetensors")
        shutil.copyfile(model, "model.safetensors")
    return folder


def _prepare(patch: pytest.MonkeyPatch, folder: Path) -> None:
    patch.chdir(folder)
    patch.setenv("AUDIOPRUNE_CACHE", str(folder / "cache"))
    patch.setattr(sys, "path", list(sys.path))
    patch.setattr(sys, "argv", list(sys.argv))


@pytest.fixture
def ask(
    made: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., Told]]:
    """Run a verb where the model is; return its code and its last line of errors."""
    _prepare(monkeypatch, made)

    def run(verb: str, *words: str) -> Told:
        capfd.readouterr()
        code = cli.run_verb(verb, list(words))
        GlobalHydra.instance().clear()
        found = capfd.readouterr()
        assert "Traceback" not in found.err + found.out, found.err[-3000:]
        lines = found.err.splitlines()
        said.append(found.err)
        return code, lines[-1] if lines else ""

    yield run
    GlobalHydra.instance().clear()


def _train(*words: str) -> list[str]:
    return ["train", *SMALL, *CORPUS, *TRAIN, *REST, *words]


NUMBERS: list[tuple[list[str], str]] = [
    (_train("training.learning_rate=0"), "training.learning_rate: expected a number > 0, got 0"),
    (_train("training.learning_rate=nan"), "learning_rate: expected a finite number > 0, got nan"),
    (_train("training.learning_rate=1e-400"), "learning_rate: expected a number > 0, got 0"),
    (_train("training.epochs=-1"), "training.epochs: expected a number >= 1, got -1"),
    (_train("training.epochs=2.5"), "training.epochs: expected int >= 1, got 2.5; correct"),
    (_train("training.batch_size=0"), "training.batch_size: expected a number >= 1, got 0"),
    (_train("seed=x"), "seed: expected int"),
    (_train("data.test_snr_db=[x]"), "data.test_snr_db"),
    (_train("model.width=0"), "model.width: expected a number >= 1, got 0"),
    (_train("data.train_mixtures=0"), "data.train_mixtures: expected a number >= 1, got 0"),
    (_train("model=lstmm"), "no option model=lstmm -> closest: lstm"),
    (_train("trainin.epochs=1"), "no key 'trainin.epochs' -> closest: training.epochs"),
    *(
        (["prune", MODEL, "pipeline=magnitude", f"pipeline.sparsity={value}"], told)
        for value, told in {
            "-0.5": "pipeline.sparsity: expected a number >= 0 and <= 1, got -0.5",
            "1.5": "pipeline.sparsity: expected a number >= 0 and <= 1, got 1.5",
            "nan": "pipeline.sparsity: expected a finite number >= 0 and <= 1, got nan",
            "inf": "pipeline.sparsity: expected a finite number >= 0 and <= 1, got inf",
            "abc": "pipeline.sparsity: expected float >= 0 and <= 1, got abc; correct",
        }.items()
    ),
    *(
        (["quantize", MODEL, f"pipeline.levels={value}"], told)
        for value, told in {
            "0": "pipeline.levels: expected a number >= 1 and <= 65536, got 0",
            "2.5": "pipeline.levels: expected int >= 1 and <= 65536",
            "100000": "pipeline.levels: expected a number >= 1 and <= 65536, got 100000",
        }.items()
    ),
]


@pytest.mark.slow
@pytest.mark.faults("C21", "C22")
def test_bad_numbers_and_names_are_told_before_any_work(ask: Callable[..., Told]) -> None:
    for words, match in NUMBERS:
        code, line = ask(*words)
        assert code == 2 and line.startswith("error: ") and match in line, (words, line)
    record("C21", f"{len(NUMBERS)} bad numbers and names: code 2, one line each")


GOOD: list[list[str]] = [
    _train("model.width=1", "model.depth=1"),
    ["prune", MODEL, "pipeline=magnitude", "pipeline.sparsity=0", *REST],
    ["prune", MODEL, "pipeline=magnitude", "pipeline.sparsity=1", *REST],
    ["quantize", MODEL, "pipeline.levels=1", *REST],
]


@pytest.mark.slow
@pytest.mark.faults("C23")
def test_the_ends_of_the_ranges_work(ask: Callable[..., Told]) -> None:
    for words in GOOD:
        code, line = ask(*words)
        assert code == 0, (words, line)
        if "pipeline.sparsity=1" in words:
            assert "no weight is left in layers" in said[-1]
    record("C23", "one-unit layers, 0 %, 100 %, one shared value: finished, emptied layers named")


def _rewrite(root: Path, change: Callable[[np.ndarray], np.ndarray], rate: int = 16000) -> Path:
    speech_tree(root, speakers=2, utterances=1)
    for path in root.rglob("*.wav"):
        samples, _ = soundfile.read(path)
        several = "WAVEX" if change(samples).ndim == 2 else None
        soundfile.write(path, change(samples), rate, subtype="DOUBLE", format=several)
    return root


def _with_nan(samples: np.ndarray) -> np.ndarray:
    samples[9] = np.nan
    return samples


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda root: None, "found no such folder .*; check the path"),
    "empty": (lambda root: root.mkdir(), "found an empty folder without any audio file; check"),
    "one file": (
        lambda root: write(root / "a.wav", tone(1, 1)),
        "expected speakers .* give data.",
    ),
    "one speaker": (
        lambda root: [write(root / "s" / f"{n}.wav", tone(1, n)) for n in range(3)],
        "expected at least 3 speakers .* found 1",
    ),
    "one split given": (lambda root: speech_tree(root, ("train",)).parent, "expected"),
    "a level too high": (lambda root: speech_tree(root / "speech"), "expected|point to"),
    "silent": (lambda root: _rewrite(root, lambda s: 0 * s), "6 silent or short files .*; add"),
    "short": (lambda root: _rewrite(root, lambda s: s[:50]), "6 silent or short files .*; add"),
    "below PESQ": (lambda root: _rewrite(root, lambda s: s[:1600]), "silent or short .*; add"),
    "NaN": (lambda root: _rewrite(root, _with_nan), "found 6 bad files: .*1 samples are NaN"),
    "constant": (lambda root: _rewrite(root, lambda s: 0 * s + 0.5), "expected different audio"),
}
TAKEN: dict[str, Callable[[Path], object]] = {
    "clipped": lambda root: _rewrite(root, lambda s: np.clip(100 * s, -1, 1)),
    "stereo": lambda root: _rewrite(root, lambda s: np.stack([s] * 2, 1)),
    "5.1": lambda root: _rewrite(root, lambda s: np.stack([s] * 6, 1)),
    "8 kHz": lambda root: _rewrite(root, lambda s: s, 8000),
    "192 kHz": lambda root: _rewrite(root, lambda s: np.tile(s, 12), 192_000),
    "empty split": lambda root: [path.unlink() for path in speech_tree(root).rglob("valid*.wav")],
}


@pytest.mark.slow
@pytest.mark.faults("C12", "C13", "C14", "C15")
def test_odd_corpora_are_taken_or_told(made: Path, ask: Callable[..., Told]) -> None:
    for number, (kind, (make, match)) in enumerate(REFUSED.items()):
        make(made / f"r{number}")
        words = _train(f"data.speech_root=r{number}")
        code, line = ask(*words)
        assert code == 3 and line.startswith("error: ") and re.search(match, line), (kind, line)
        assert f"r{number}" in line
    for number, (kind, make) in enumerate(TAKEN.items()):
        make(made / f"t{number}")
        code, line = ask(*_train(f"data.speech_root=t{number}"))
        assert code == 0, (kind, line)
    record("C12", "silent, constant and clipped speech: told by name or noted")
    record("C13", "8 to 192 kHz, float64, stereo and 5.1: decoded and trained on")
    record("C14", "clips shorter than a frame or than PESQ needs: left out and counted")
    record("C15", "missing, empty and misplaced folders: code 3, what was found and what to do")


@pytest.mark.slow
@pytest.mark.faults("C13")
def test_pairs_of_other_rates_and_lengths_are_told(made: Path, ask: Callable[..., Told]) -> None:
    cases = {"Hz, its clean file": (8000, 8000), "samples, its clean file": (16000, 9000)}
    for number, (match, (rate, length)) in enumerate(cases.items()):
        for place in range(6):
            inside = Path(("train", "valid", "test")[place % 3]) / f"s{place}" / "1.wav"
            write(made / f"p{number}" / "clean" / inside, tone(1, place))
            write(made / f"p{number}" / "noisy" / inside, tone(1, place)[:length], rate)
        words = ["train", "data=paired_folder", f"data.root=p{number}", *TRAIN, *REST]
        code, line = ask(*words)
        assert code == 3 and match in line and "1.wav" in line, line


ON_FILE = {
    **{verb: [] for verb in ("eval", "info", "quantize", "prune")},
    "enhance": ["in=corpus/noise/test/babble_1.wav", "out=made.wav"],
    "apply": ["in=corpus/noise/test/babble_1.wav"],
    "generate": ["pitch=60"],
    "export": ["out=made.onnx"],
}


@pytest.mark.slow
@pytest.mark.faults("C17", "C18")
def test_every_verb_refuses_what_is_no_model(made: Path, ask: Callable[..., Told]) -> None:
    for name in ("junk.apz", "junk.pt", "junk.safetensors", "junk.txt"):
        (made / name).write_bytes(b"junk")
    cut = (made / "model.safetensors").read_bytes()[:-9]
    (made / "cut.safetensors").write_bytes(cut)
    names = ["junk.apz", "junk.pt", "junk.safetensors", "junk.txt", "cut.safetensors", "corpus"]
    for name in [*names, "nowhere.apz", "/dev/null", "model.safetensors/x"]:
        for verb, more in ON_FILE.items():
            code, line = ask(verb, f"checkpoint={name}", *more)
            assert code == 4 and line.startswith("error: ") and name in line, (verb, name, line)
    assert not (made / "cache" / "synthetic_speech").exists()  # refused before a corpus is made
    for name in names:
        assert ask("listen", f"systems.a={name}", *SMALL, *CORPUS)[0] == 4
    record("C18", f"{len(names) + 3} files that are no model, to {len(ON_FILE) + 1} verbs: code 4")


def _typed(path: Path | str) -> str:
    """Return a value as the messages tell to type it."""
    text = str(path).replace("\\", "\\\\").replace('"', '\\"').replace("${", "\\${")
    return f'"{text}"'


PLACES = ("a b", "x=y", "p,q", "50%", "${HOME}", "é漢", "q'q", "[1]{2}", "a b=c,d%e${x}é漢")


@pytest.mark.slow
@pytest.mark.faults("C27")
@pytest.mark.parametrize("name", PLACES)
def test_every_verb_works_in_any_folder(
    name: str, made: Path, tmp_path: Path, ask: Callable[..., Told]
) -> None:
    place = tmp_path / name
    shutil.copytree(made / "corpus", place / "corpus")
    shutil.copyfile(made / "model.safetensors", place / "m.safetensors")
    roots = [f"data.{role}_root={_typed(place / 'corpus' / role)}" for role in ("speech", "noise")]
    own = [*SMALL, *roots]
    runs = f"runtime.folder={_typed(place / 'runs')}"
    if "${" in name:
        code, line = ask("eval", f"checkpoint={_typed(place / 'm.safetensors')}", runs)
        assert code == 2 and "runtime.folder: expected a folder without ${ in its path" in line
        runs = f"runtime.folder={tmp_path / 'runs'}"
    model = f"checkpoint={_typed(place / 'm.safetensors')}"
    wav = place / "corpus" / "noise" / "test" / "babble_1.wav"
    asked = [
        ["train", *own, *TRAIN, *REST, runs],
        ["info", model],
        ["eval", model, *own, *REST, runs],
        ["prune", model, *own, "pipeline=magnitude", *REST, runs],
        ["quantize", model, *own, "pipeline.levels=4", *REST, runs],
        ["enhance", model, f"in={_typed(wav)}", f"out={_typed(place / 'o.wav')}"],
        ["enhance", model, f"in={_typed(wav.parent)}", f"out={_typed(place / 'o')}"],
        ["export", model, "format=c", f"out={_typed(place / 'c')}"],
        ["report", runs.replace("runtime.folder", "runs"), f"out={_typed(place / 'told')}"],
        ["data", "action=check", f"root={_typed(place / 'corpus' / 'noise')}"],
        ["data", "action=manifest", f"out={_typed(place / 'm.jsonl')}", *own],
    ]
    for words in asked:
        code, line = ask(*words)
        assert code == 0, (words[0], line)
    assert (place / "o.wav").is_file() and (place / "told" / "report.html").is_file()
    record("C27", f"`{name}` as a folder: ten verbs work there")


@pytest.mark.slow
@pytest.mark.faults("C27")
def test_a_plain_locale_and_another_folder(made: Path, tmp_path: Path) -> None:
    """A process without UTF-8 of its own, begun where nothing is."""
    shutil.copytree(made / "corpus" / "noise", tmp_path / "é 漢" / "noise")
    (tmp_path / "é 漢" / "noise" / "bad ü.wav").write_bytes(b"")
    env = {**os.environ, "LC_ALL": "C"}
    env["PYTHONPATH"] = str(Path(cli.__file__).parent.parent)
    words = ["data", "action=check", f"root={_typed(tmp_path / 'é 漢' / 'noise')}"]
    program = "from audioprune.cli import main; main()"
    command = [sys.executable, "-c", program, *words]
    done = subprocess.run(command, cwd="/", env=env, capture_output=True, check=False)
    assert done.returncode == 3, done.stderr
    assert b"an empty file (0 bytes)" in done.stdout and b"Traceback" not in done.stderr
    record("C27", "LC_ALL=C, begun in /: names of files are told, code 3")


@pytest.mark.faults("C27")
def test_names_with_signs_are_shown_and_computed_by_nobody(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    _prepare(monkeypatch, tmp_path)
    (tmp_path / "odd").mkdir()
    for name in ("\x1b[31mred.wav", "=1+1.wav", "<script>.wav"):
        (tmp_path / "odd" / name).write_bytes(b"")
    for form in ("table", "csv"):
        assert cli.run_verb("data", ["action=check", "root=odd", f"format={form}"]) == 3
        told = capfd.readouterr().out
        assert "\\x1b[31mred.wav" in told and "\x1b" not in told and "\n=1+1" not in told
