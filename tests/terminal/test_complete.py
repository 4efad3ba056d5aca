"""Completion: what may stand at the end of a line, and the scripts in real shells."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from audioprune.cli import VERBS
from audioprune.terminal.complete import Answer, candidates
from audioprune.terminal.shells import SHELLS, script

# In a directory with folder/inner.wav, file.apz and .hidden.
CASES = [
    ("audioprune pr", ["prune"]),
    ("audioprune completion ", ["bash", "zsh", "fish"]),
    ("audioprune prune model=fd", ["model=fdnn", "model=fdnn_b"]),
    ("audioprune prune data=vctk,ns", ["data=vctk,nsynth"]),
    ("audioprune prune pipeline.lam", ["pipeline.lambda_1="]),
    ("audioprune prune pipeline=magnitude pipeline.spars", ["pipeline.sparsity="]),
    ("audioprune prune trai", ["training."]),
    ("audioprune prune +tu", ["+tune="]),
    ("audioprune prune training.keep=", ["training.keep=best", "training.keep=last"]),
    ("audioprune prune training.amsgrad=", ["training.amsgrad=true", "training.amsgrad=false"]),
    ("audioprune prune --cfg j", ["job"]),
    ("audioprune prune --help train", ["training", "training.epochs"]),
    ("audioprune prune format=j", ["format=json"]),
    ("audioprune report report=su", ["report=summary"]),
    ("audioprune nothing x", []),
    ("audioprune enhance checkpoint=f", ["checkpoint=folder/", "checkpoint=file.apz"]),
    ("audioprune enhance in=folder/", ["in=folder/inner.wav"]),
    ("audioprune prune data.root=none/", []),
]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "inner.wav").touch()
    (tmp_path / "file.apz").touch()
    (tmp_path / ".hidden").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("line", "expected"), CASES)
def test_a_line_is_completed(line: str, expected: list[str], here: Path) -> None:
    found = candidates(line, VERBS)
    assert set(expected) <= set(found.words) and bool(expected) == bool(found.words)
    start = line.rpartition(" ")[2]
    assert all(word.startswith(start) for word in found.words)


def test_paths_are_files_and_other_values_are_words(here: Path) -> None:
    assert candidates("audioprune eval checkpoint=", VERBS).kind == "files"
    assert candidates("audioprune listen systems.a=", VERBS).kind == "files"
    assert candidates("audioprune prune training.keep=", VERBS).kind == "words"
    assert candidates("audioprune eval checkpoint=.h", VERBS).words == ["checkpoint=.hidden"]


def test_keys_below_a_group_wait_for_its_name() -> None:
    words = candidates("audioprune prune ", VERBS).words
    assert {"data=", "data.", "training.", "seed="} <= set(words) and len(words) < 30


_BASH = r"""
eval "$(cat script)"
try() {
    COMP_LINE="$1" COMP_POINT=${#1} COMP_TYPE=9
    COMP_WORDS=(./fake) COMP_CWORD=1 COMPREPLY=()
    _audioprune
    printf '%s|' "${COMPREPLY[@]}"
    printf '\n'
}
"""


def _fake(folder: Path) -> None:
    """Write a program that answers as audioprune does, from a prepared list."""
    lines = [case[0] for case in CASES]
    answers = {line: candidates(line, VERBS) for line in lines}
    cases = "".join(
        f"'{line}') printf '%s\\n' {found.kind} {' '.join(found.words)};;\n"
        for line, found in answers.items()
    )
    (folder / "fake").write_text(f'#!/bin/sh\ncase "$2" in\n{cases}esac\n')
    (folder / "fake").chmod(0o755)


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
def test_bash_completes_what_follows_the_last_sign_that_ends_a_word(here: Path) -> None:
    _fake(here)
    (here / "script").write_text(script("bash"))
    lines = "".join(f"try '{line}'\n" for line, _ in CASES)
    done = subprocess.run(
        ["bash", "--norc", "-c", _BASH + lines],
        cwd=here,
        capture_output=True,
        text=True,
        check=True,
    )
    assert not done.stderr
    for (line, expected), answer in zip(CASES, done.stdout.splitlines(), strict=True):
        wanted = {each.rpartition("=")[2] if "=" in line else each for each in expected}
        wanted = {each.rstrip("/") if "checkpoint" in line else each for each in wanted}
        assert wanted <= set(answer.split("|")), line


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
def test_bash_keeps_whole_words_where_the_equals_sign_ends_none(here: Path) -> None:
    _fake(here)
    (here / "script").write_text(script("bash"))
    typed = ("audioprune prune model=fd", "audioprune enhance in=folder/")
    lines = "COMP_WORDBREAKS=' '\n" + "".join(f"try '{line}'\n" for line in typed)
    done = subprocess.run(
        ["bash", "--norc", "-c", _BASH + lines],
        cwd=here,
        capture_output=True,
        text=True,
        check=True,
    )
    first, second = done.stdout.splitlines()
    assert "model=fdnn" in first.split("|") and second == "in=folder/inner.wav|"


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_is_read_by_its_shell(shell: str, tmp_path: Path) -> None:
    if not shutil.which(shell):
        pytest.skip(f"needs {shell}")
    (tmp_path / "script").write_text(script(shell))
    done = subprocess.run([shell, "-n", "script"], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
def test_a_real_bash_completes_at_its_prompt(here: Path) -> None:
    """Type into an interactive shell and press the tabulator twice."""
    import pty

    program = Path(sys.executable).with_name("audioprune")
    (here / "audioprune").symlink_to(program)
    typed = (
        f'PATH={here}:$PATH; PS1="> "; eval "$(audioprune completion bash)"\n'
        "audioprune prune model=gcr\t --help >out.txt; exit\n"
    )
    reader, writer = pty.openpty()
    process = subprocess.Popen(
        ["bash", "--norc", "-i"], stdin=writer, stdout=writer, stderr=writer, cwd=here
    )
    import os

    os.write(reader, typed.encode())
    process.wait(timeout=60)
    assert (here / "out.txt").read_text().startswith("audioprune prune: ")
    assert "model=gcrn " in (here / "out.txt").read_text()


def test_an_answer_is_a_kind_and_words() -> None:
    assert candidates("audioprune nothing x", VERBS) == Answer("words", [])
