"""What a run meets: another run, a suspended laptop, other data, a wrong clock, dead helpers."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import soundfile
from faults.crashes import Ended, Trial, carry_out, contents, differences, kill
from faults.given import pipeline_trial, verb_trial
from faults.record import record
from faults.verbs import Given

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("warm", "one_thread")]
SUSPENDED_S = 60.0 if os.environ.get("AUDIOPRUNE_EVERY_OPERATION") else 3.0


def suspended(trial: Trial, at: int, meanwhile: Callable[[Path, int], None]) -> Ended:
    """Suspend a trial before an operation, do something, wake it, and return how it ended."""

    def stop(path: str, synced: bool) -> None:
        if os.fork() == 0:  # a hand that wakes it once the test has said so
            while not (trial.folder / "wake").exists():
                time.sleep(0.05)
            os.kill(os.getppid(), signal.SIGCONT)
            os._exit(0)
        (trial.folder / "stopped").write_text(str(os.getpid()))
        os.kill(os.getpid(), signal.SIGSTOP)

    hand = os.fork()
    if hand == 0:
        code = 1
        try:
            while not (trial.folder / "stopped").exists():
                time.sleep(0.05)
            meanwhile(trial.folder / "trial", int((trial.folder / "stopped").read_text()))
            code = 0
        finally:
            (trial.folder / "wake").touch()
            os._exit(code)
    folder, ended = trial.disturbed(at, stop)
    status = os.waitstatus_to_exitcode(os.waitpid(hand, 0)[1])
    assert status == 0, "what happened meanwhile failed; see above"
    for name in ("wake", "stopped"):
        (trial.folder / name).unlink()
    return ended


@pytest.mark.faults("C8")
def test_a_second_run_is_refused_while_the_first_is_suspended(given: Given, place: Path) -> None:
    trial = verb_trial(given, "train", place)

    def meanwhile(folder: Path, pid: int) -> None:
        second = carry_out(trial.command, folder)
        assert second.code == 5, second.text
        assert f"in use by process {pid} on {os.uname().nodename}" in second.text
        assert "Traceback" not in second.text
        time.sleep(SUSPENDED_S)

    middle = trial.straight.operations // 2
    ended = suspended(trial, middle, meanwhile)
    assert ended.code == 0, ended.text
    differing = differences(contents(place / "trial"), trial.wanted)
    assert not differing, differing
    record("C8", "a second run while the first is suspended: refused with its process and host")
    record("C28", "SIGSTOP in the midst of a run, then on: the same files")


@pytest.mark.faults("C9")
def test_the_folder_of_another_configuration_stays_as_it_was(given: Given, place: Path) -> None:
    one = "hydra.run.dir=runs/one"
    folder = place / "trial"
    assert carry_out(given.command("train", one), folder).code == 0
    before = contents(folder)
    ended = carry_out(given.command("train", one, "training.learning_rate=0.5"), folder)
    assert ended.code == 5 and "differs in training" in ended.text, ended.text
    assert not differences(contents(folder), before)
    record("C9", "another learning rate: refused with the key, the folder unharmed")


def data_of_its_own(given: Given, place: Path, *more: str) -> Trial:
    """Return trials of a training that has a copy of its corpus."""
    words = ("data.speech_root=speech", "data.noise_root=noise", *more)

    def prepare(folder: Path) -> None:
        for name in ("speech", "noise"):
            shutil.copytree(given.folder / name, folder / name)

    return Trial(given.command("train", *words), place, prepare)


@pytest.mark.faults("C9", "C26")
def test_a_corpus_that_changed_meanwhile_is_refused(given: Given, place: Path) -> None:
    trial = data_of_its_own(given, place)
    folder, ended = trial.disturbed(trial.straight.operations // 2, kill)
    assert ended.code == -signal.SIGKILL
    file = next((folder / "speech" / "train").rglob("*.wav"))
    kept, facts = file.read_bytes(), file.stat()
    samples, rate = soundfile.read(file)
    soundfile.write(file, samples[::-1], rate)  # the same size, other sound
    ended = carry_out(trial.command, folder)
    assert ended.code == 3 and "the data changed since this run began" in ended.text, ended.text
    assert "Traceback" not in ended.text
    file.write_bytes(kept)
    os.utime(file, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    trial.resume(folder, "with the corpus as it was")
    record("C26", "a recording that changed between kill and resume: refused, code 3")


@pytest.mark.faults("C30")
@pytest.mark.parametrize("name", ["p2_unstructured", "p3_mask"])
def test_a_clock_that_goes_back_changes_nothing(
    place: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = pipeline_trial(name, place)
    true_time = time.time

    def back(path: str, synced: bool) -> None:
        monkeypatch.setattr(time, "time", lambda: true_time() - 2 * 86_400)
        for file in Path(path).parent.glob("*"):
            os.utime(file, (true_time() + 3600, true_time() + 3600))

    folder, ended = trial.disturbed(trial.straight.operations // 2, back)
    assert ended.code == 0, ended.text
    assert not differences(contents(folder), trial.wanted)
    record("C30", "a clock two days back and files from the future: the same rows and names")


def kill_helpers(named: str) -> Callable[[str, bool], None]:
    """Return what has the helpers of this process killed once they work, as without memory.

    Args:
        named: Text in the command or the name of such a process.
    """

    def strike(path: str, synced: bool) -> None:
        run = os.getpid()
        if os.fork():
            return
        while os.getppid() == run:  # the hand that kills ends with the run
            for each in psutil.Process(run).children(recursive=True):
                with suppress(psutil.Error):
                    if each.pid != os.getpid() and named in f"{each.name()} {each.cmdline()}":
                        time.sleep(0.05)
                        each.kill()
                        os._exit(0)
            time.sleep(0.01)
        os._exit(0)

    return strike


@pytest.mark.faults("C28")
@pytest.mark.parametrize(
    ("words", "named", "told"),
    [
        (("runtime.workers=1",), "pt_data_worker", "a process that loads data ended early"),
        (
            ("runtime.metric_workers=2", "scoring.metrics=[pesq_nb]"),
            "audioprune.metrics",
            "a scoring process ended at",
        ),
    ],
)
def test_a_killed_helper_is_one_line_and_the_run_goes_on(
    given: Given, place: Path, words: tuple[str, ...], named: str, told: str
) -> None:
    trial = Trial(given.command("train", *words, "training.epochs=9"), place)
    folder, ended = trial.disturbed(1, kill_helpers(named))
    assert ended.code == 1 and told in ended.text and "Traceback" not in ended.text, ended.text
    assert ended.seconds < 60 + 9 * trial.straight.seconds, "it hung"
    trial.resume(folder, named)
    record("C28", f"a killed helper ({told}): one line, no hang, and the same command goes on")


@pytest.mark.faults("C28")
def test_too_little_memory_is_one_line(given: Given, place: Path) -> None:
    def little() -> int:
        now = psutil.Process().memory_info().vms
        resource.setrlimit(resource.RLIMIT_AS, (now + (48 << 20), resource.RLIM_INFINITY))
        return given.command("train", "model.width=4000")()

    ended = carry_out(little, place / "trial")
    assert ended.code == 1 and "Traceback" not in ended.text, ended.text
    assert "out of memory" in ended.text, ended.text
    record("C28", "an address space that is too small: one line, `out of memory`")
