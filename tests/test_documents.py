"""Every code block of README, docs/ and CONTRIBUTING runs as it stands, at a tiny size.

What they name in passing (options, keys, targets, files) exists.
"""

from __future__ import annotations

import contextlib
import io
import logging
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from note_trees import nsynth_tree
from speech_trees import noise_tree, speech_tree
from tiny_runs import MYNET

import audioprune
from audioprune import cli, schema
from audioprune.models.zoo.silero_vad import SileroVAD

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
TEXTS = {page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8") for page in PAGES}
README = TEXTS["README.md"]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


class Line(NamedTuple):
    """How one command of README is run.

    Attributes:
        words: Words that this command alone has.
        tiny: Overrides that make it a matter of a second.
        swaps: What is put in place of its placeholders; a run that is made when first asked for
            stands in braces.
        without: Words that are left out in the default suite; with them the command is a slow
            test.
        codes: Exit codes that are no failure: so small a model may keep no bound.
        slow: Whether the command is a slow test; tests of its own verb stand in for it.
    """

    words: str
    tiny: tuple[str, ...] = ()
    swaps: tuple[tuple[str, str], ...] = ()
    without: tuple[str, ...] = ()
    codes: tuple[int, ...] = (0,)
    slow: bool = False


QUICK = (
    *(
        "training.epochs=1",
        "scoring.metrics=[si_sdr]",
        "scoring.latency_repeats=0",
        "scoring.audio_items=0",
    ),
    *("runtime.metric_workers=0", "runtime.device=cpu", "runtime.threads=1"),
)
FEW = (
    "data.train_mixtures=4",
    "data.valid_mixtures=2",
    "data.test_mixtures=1",
    "data.test_snr_db=[-5]",
    "data.babble_share=0",
)
MADE = (
    *(
        "data.minutes=0.1",
        "data.valid_minutes=0.05",
        "data.test_minutes=0.05",
        "data.utterance_s=[1,1.2]",
        "data.noise_s=2",
    ),
    *("data.speakers=2", "data.valid_speakers=1", "data.test_speakers=1"),
)
SMALL = ("model.width=4", "model.depth=2", "training.batch_size=4", "training.finetune_epochs=1")
ONE = ("pipeline.max_iterations=1", "pipeline.sensitivity_items=1", "pipeline.levels=4")
FOLDERS = (("/audio/speech", "audio/speech"), ("/audio/noise", "audio/noise"))
MIXED = (
    ("data.speech_root=...", "data.speech_root=audio/speech"),
    ("data.noise_root=...", "data.noise_root=audio/noise"),
)
NOTES = (
    *(
        "data.sample_rate=16000",
        "data.duration_s=0.4",
        "data.segment_s=0.4",
        "model.hidden=4",
        "model.depth=1",
        "model.latent=2",
    ),
    *(
        "model.encoder_width=4",
        "model.partials=4",
        "model.filter_size=8",
        "model.reverb_length=100",
        "training.batch_size=4",
    ),
    *("pipeline.rounds=1", "pipeline.evidence_items=8", "pipeline.rewind=0ep"),
)
# The bound is not always kept by so little training, which a sweep says by its exit code.
TRIED = (
    *(item for item in QUICK if not item.startswith("scoring.metrics")),
    *(*FEW, *MADE, "scoring.metrics=[stoi]", "tune.trials=1", "tune.max_drop=99"),
)
UNSCORED = ("scoring.latency_repeats=0", "runtime.device=cpu")
HEARD = ("items=1", "duration_s=[0.3,2]")
COMMANDS = (
    Line(
        "prune experiment=p2/fdnn_desk data=noisy_mixtures", (*QUICK, *FEW, *SMALL, *ONE), FOLDERS
    ),
    Line(
        "prune task=imitate task.input=magnitude model=mynet:MyNet",
        (*QUICK, "data.segment_s=0.3", "data.train_segments=4", "data.test_segments=2"),
        FOLDERS[:1],
    ),
    Line("data action=check root=/audio/speech", (), FOLDERS[:1]),
    Line("data action=check data=noisy_mixtures", FEW[1:], FOLDERS),
    Line("data action=manifest data=noisy_mixtures", FEW[1:], FOLDERS),
    Line(
        "eval checkpoint=runs/prune/<run>/model.apz",
        (*QUICK, *FEW),
        (("runs/prune/<run>", "{pruned}"), *MIXED),
    ),
    Line("info model=mynet:MyNet"),
    Line(
        "prune model=mynet:MyNet model.args.width=64 model.example=[1,100,161] task=irm",
        (*QUICK, *FEW, *MADE, *ONE, "training.finetune_epochs=1"),
    ),
    Line(
        "prune model=mynet:MyNet model.example=[1,100,161] task=mytask:Denoise",
        (*QUICK, *FEW, *MADE, "training.finetune_epochs=1", "pipeline.levels=4"),
    ),
    Line(
        "prune model=mynet:MyNet model.args.width=64 model.example=[1,100,161] checkpoint=",
        UNSCORED,
    ),
    Line("quantize model=mynet:MyNet", UNSCORED),
    Line(
        "train experiment=p2/gru_desk pipeline=train",
        (*QUICK, *FEW, *MADE, "model.width=4", "training.batch_size=4"),
        slow=True,
    ),
    Line(
        "quantize checkpoint=runs/train/<run> pipeline=quantize_uniform",
        (*QUICK, *FEW, *MADE, "training.batch_size=4", "pipeline.bits=2"),
        (("runs/train/<run>", "{trained}"), ("tuning_epochs=2", "tuning_epochs=1")),
        slow=True,
    ),
    Line(
        "train experiment=p2/lstm_desk pipeline=train",
        (*QUICK, *FEW, *MADE, "model.width=4", "training.batch_size=4"),
        slow=True,
    ),
    Line(
        "quantize pipeline=quantize_uniform scoring.metrics",
        (*QUICK, *FEW, *MADE),
        (("runs/train/<run>", "{trained}"),),
        slow=True,
    ),
    Line(
        "quantize pipeline=quantize_uniform pipeline.quantizer=kmeans",
        (*QUICK, *FEW, *MADE),
        (("runs/train/<run>", "{trained}"),),
        slow=True,
    ),
    Line(
        "prune experiment=p2/gcrn_desk pipeline=prune_uniform",
        (*QUICK, *FEW, *MADE, "model.width=0.0625", "pipeline.finetune_epochs=1"),
        (("recalibrate_batches=100", "recalibrate_batches=1"),),
        slow=True,
    ),
    Line("eval model=mynet:MyNet", UNSCORED, (("runs/prune/<run>", "{units}"),)),
    Line(
        "prune pipeline=curves",
        (*QUICK, *FEW, *MADE, *ONE[1:2], "pipeline.betas=[0,0.5]"),
        (("runs/train/<run>", "{trained}"),),
    ),
    Line(
        "prune pipeline=budget",
        (
            *QUICK,
            *FEW,
            *MADE,
            *ONE[1:2],
            "pipeline.betas=[0,0.5]",
            "pipeline.candidates=2",
            "pipeline.finetune_epochs=1",
        ),
        (("runs/train/<run>", "{trained}"),),
    ),
    Line("prune experiment=p2/fdnn_desk pipeline=distiller", (*QUICK, *FEW, *MADE, *SMALL)),
    Line(
        "prune experiment=p3/ddsp_nsynth data=nsynth",
        (*QUICK, *NOTES),
        (("/corpora/nsynth", "notes"),),
    ),
    Line(
        "generate checkpoint=runs/prune/<run>",
        ("duration_s=0.1",),
        (("runs/prune/<run>", "{lottery}"),),
    ),
    Line(
        "enhance checkpoint=runs/prune/<run> in=talk.wav",
        (),
        (("runs/prune/<run>", "{pruned}"),),
    ),
    Line(
        "enhance checkpoint=runs/prune/<run> in=/audio/speech",
        (),
        (("runs/prune/<run>", "{pruned}"), FOLDERS[0]),
        without=("jobs=2",),
        slow=True,
    ),
    Line("enhance checkpoint=small.apz in=- out=-"),
    Line("apply checkpoint=vad.apz in=talk.wav"),
    Line("apply checkpoint=vad.apz in=- rate=16000"),
    Line("apply checkpoint=vad.apz in=/audio/speech", (), FOLDERS[:1], slow=True),
    Line(
        "prune -m experiment=p2/fdnn_desk pipeline.lambda_1=0,1 seed=0,1",
        (*QUICK, *FEW, *MADE, *SMALL, *ONE),
        slow=True,
    ),
    Line(
        "prune -m experiment=p2/fdnn_desk pipeline=magnitude",
        (*QUICK, *FEW, *MADE, *SMALL, "pipeline.levels=4"),
        without=("hydra/launcher=joblib", "hydra.launcher.n_jobs=2"),
    ),
    Line(
        "prune -m +tune=smallest tune.metric=stoi tune.max_drop=0.5 experiment=p2/fdnn_demo",
        (*TRIED, *SMALL, "pipeline=magnitude"),
        codes=(0, 1),
    ),
    Line(
        "prune -m +tune=smallest tune.metric=stoi tune.max_drop=0.5 pipeline=magnitude",
        (*TRIED, *SMALL),
        codes=(0, 1),
        slow=True,
    ),
    Line(
        "prune -m hydra/sweeper=optuna",
        (*QUICK, *FEW, *MADE, *SMALL, "pipeline.levels=4", "hydra.sweeper.n_trials=1"),
    ),
    Line(
        "export checkpoint=runs/prune/<run> out=small.onnx",
        (),
        (("runs/prune/<run>", "{pruned}"),),
        slow=True,
    ),
    Line(
        "export checkpoint=runs/prune/<run> out=frame.onnx",
        (),
        (("runs/prune/<run>", "{pruned}"),),
        slow=True,
    ),
    Line("enhance checkpoint=small.apz in=talk.wav out=clean.wav"),
    Line("export checkpoint=small.apz out=small_frame.onnx", slow=True),
    Line("export checkpoint=small.apz out=small_c", slow=True),
    Line("export checkpoint=vad.apz out=vad.onnx", slow=True),
    Line("export checkpoint=vad.apz out=vad_c", slow=True),
    Line(
        "export checkpoint=runs/prune/<run> out=codes",
        (),
        (("runs/prune/<run>", "{pruned}"),),
        slow=True,
    ),
    Line(
        "export checkpoint=runs/prune/<run> out=enhancer",
        (),
        (("runs/prune/<run>", "{pruned}"),),
        slow=True,
    ),
    Line(
        "export checkpoint=runs/prune/<run> out=small.pt",
        (),
        (("runs/prune/<run>", "{pruned}"),),
    ),
    Line("report runs=runs/prune", (), (("runs/prune", "{pruned}"),)),
    Line("report runs=runs/prune clips=9", (), (("runs/prune", "{pruned}"),), slow=True),
    Line(
        "report runs=runs/prune watch=true",
        ("quiet_s=0",),
        (("runs/prune", "{pruned}"),),
        slow=True,
    ),
    Line("report runs=docs/results/p2", (), (("docs/results/p2", "{pruned}"),)),
    Line(
        "listen test=pruned systems.DCAE=runs/train/<run> systems.DCAE_pr=runs/prune/<run>",
        (*HEARD, *FEW, *MADE),
        (
            ("runs/train/<run>", "{trained}"),
            ("runs/prune/<run>", "{pruned}"),
            ("data=...", "data=synthetic_speech"),
        ),
    ),
    Line(
        "listen systems.FDNN=runs/prune/<run> systems.small=small.apz",
        (*HEARD, *FEW, *MADE),
        (("runs/prune/<run>", "{pruned}"),),
    ),
    Line("listen action=stats results="),
    Line(
        "doctor experiment=p2/gcrn",
        (*QUICK, "model.width=0.0625", "data.max_test_s=0.3", "data.segment_s=0.3"),
        slow=True,
    ),
    Line(
        "prune experiment=p2/fdnn_desk runtime.rehearse=true",
        (*QUICK, *FEW, *MADE, *SMALL, *ONE),
        slow=True,
    ),
)
TRAIN = f"train experiment=p2/fdnn_desk {' '.join((*QUICK, *FEW, *MADE, *SMALL))}"
RUNS = {
    "pruned": "prune experiment=p2/fdnn_desk pipeline=distiller",
    "lottery": "prune experiment=p3/ddsp_nsynth data=nsynth",
    "units": "checkpoint=weights.pt pipeline=units",
}
SCHEDULE = """
version: 1
pruners:
  fine: {class: SparsityLevelParameterPruner, levels: {'layers.0.weight': 0.5}}
policies:
  - {pruner: {instance_name: fine}, epochs: [0]}
"""
RATINGS = "session_test_id,session_uuid,trial_id,rating_stimulus,rating_score\n"


def blocks(kind: str) -> list[tuple[str, str]]:
    """Return the code blocks of all pages with a mark, such as ``"python"``, by page.

    Commands have no mark; what a program prints has the mark ``text``.
    """
    found = []
    for page, text in TEXTS.items():
        marked = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        found += [(page, code) for mark, code in marked if mark == kind]
    return found


def _python(text: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    """Return the command lines of all pages once, continued lines joined, without comments."""
    text = "\n".join(code for _, code in blocks(""))
    lines = text.replace("\\\n", " ").splitlines()
    cleaned = [re.sub(r"\s+#.*$", "", line).strip() for line in lines]
    return list(dict.fromkeys(line for line in cleaned if line))


def spans() -> list[str]:
    """Return what stands in backquotes, outside code blocks."""
    bare = "\n".join(TEXTS[page] for page in TEXTS if page != "docs/configuration.md")
    bare = re.sub(r"^```.*?^```$", "", bare, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"`([^`\n]+)`", bare)


SHOWN = [line for line in commands() if not line.startswith("make ")]
SPANS = spans()


def entry_of(command: str) -> Line:
    """Return the entry of a command in COMMANDS."""
    found = [line for line in COMMANDS if command.startswith(f"audioprune {line.words}")]
    assert len(found) == 1, (
        f"a page shows a command that COMMANDS in {Path(__file__).name} does not know: {command}"
    )
    return found[0]


class Said(io.StringIO):
    """What a command says, and the bytes that it writes to a pipe."""

    def __init__(self) -> None:
        super().__init__()
        self.buffer = io.BytesIO()


class Home:
    """A folder with everything that the commands name; runs are made when first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs: dict[str, str] = {}
        speech_tree(folder / "audio" / "speech", speakers=2, utterances=1)
        noise_tree(folder / "audio" / "noise", seconds=2.0)
        nsynth_tree(folder / "notes", seconds=0.4)
        (folder / "mynet.py").write_text(MYNET)
        own = TEXTS["docs/own-model.md"]
        (folder / "mytask.py").write_text(next(each for each in _python(own) if "Task" in each))
        shutil.copy(next((folder / "audio" / "speech").rglob("*.wav")), folder / "talk.wav")
        (folder / "talk.raw").write_bytes(bytes(6400))
        (folder / "my_schedule.yaml").write_text(SCHEDULE)
        for number, name in enumerate(("anna", "ben")):
            scores = (
                (trial, system, 50 + 10 * number + place)
                for trial in ("i1", "i2")
                for place, system in enumerate(("A", "B"))
            )
            rows = "".join(
                f"pruned,{name},{trial},{system},{score}\n" for trial, system, score in scores
            )
            (folder / f"pruned-{name}.csv").write_text(RATINGS + rows)

    def run(self, kind: str) -> str:
        """Return the folder of a run, by the command that makes it."""
        if kind not in self.runs:
            _prepare(self, RUNS.get(kind, ""))
            command = (
                TRAIN
                if kind == "trained"
                else self.filled(next(each for each in SHOWN if RUNS[kind] in each))
            )
            said = self.call(command.removeprefix("audioprune "))
            self.runs[kind] = re.findall(r"(runs/\w+/[\w.-]+): \w+", said)[-1]
        return self.runs[kind]

    def filled(self, command: str, whole: bool = False) -> str:
        """Return a command of README with its placeholders filled in and at a tiny size."""
        line = entry_of(command)
        for placeholder, value in line.swaps:
            assert placeholder in command, f"{placeholder} is no longer in: {command}"
            command = command.replace(
                placeholder, self.run(value.strip("{}")) if value.startswith("{") else value
            )
        words = [word for word in shlex.split(command) if whole or word not in line.without]
        left = [word for word in words if "..." in word or "<" in word]
        assert not left, f"COMMANDS leaves {left} in: {command}"
        return shlex.join([*words, *line.tiny])

    def call(self, command: str, codes: tuple[int, ...] = (0,)) -> str:
        """Run a command in this process, refuse a failure, and return what it said."""
        said = Said()
        GlobalHydra.instance().clear()
        verb, *words = shlex.split(command)
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            code = cli.run_verb(verb, words)
        logger = logging.getLogger("audioprune")
        logger.handlers.clear()
        logger.propagate = True
        assert code in codes, f"audioprune {command}\n{said.getvalue()}"
        return said.getvalue()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("home"))


@pytest.fixture
def here(home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """Go to the folder in which the commands are typed."""
    monkeypatch.chdir(home.folder)
    monkeypatch.setenv("AUDIOPRUNE_CACHE", str(home.folder / "cache"))
    # it takes two seconds to make, for each empty cache
    monkeypatch.setattr("audioprune.report.figures.chart._vega_library", lambda: "")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    with open("talk.raw", "rb") as raw:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(raw))
        yield home
    sys.modules.pop("mynet", None)
    sys.modules.pop("mytask", None)
    GlobalHydra.instance().clear()


def _prepare(home: Home, command: str) -> None:
    """Make the files that a command takes from an earlier one."""
    if "weights.pt" in command and not Path("weights.pt").exists():
        namespace: dict = {}
        exec(MYNET, namespace)
        torch.save(namespace["MyNet"](width=64).state_dict(), "weights.pt")
    if "vad.apz" in command:
        audioprune.save(SileroVAD(), "vad.apz", arguments={})
    if "small.apz" in command:
        shutil.copy(Path(home.run("pruned")) / "model.apz", "small.apz")


def _marked(command: str) -> Any:
    slow = any(line.slow and command.startswith(f"audioprune {line.words}") for line in COMMANDS)
    return pytest.param(command, marks=[pytest.mark.slow] if slow else [])


@pytest.mark.parametrize("command", [_marked(command) for command in SHOWN])
def test_a_shown_command_runs(here: Home, command: str) -> None:
    _prepare(here, command)
    if "tune=" in command or "optuna" in command:
        pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    here.call(here.filled(command).removeprefix("audioprune "), entry_of(command).codes)


@pytest.mark.slow
@pytest.mark.parametrize("command", [command for command in SHOWN if "joblib" in command])
def test_a_shown_command_runs_in_processes(here: Home, command: str) -> None:
    here.call(here.filled(command, whole=True).removeprefix("audioprune "))


def test_every_entry_is_shown() -> None:
    for line in COMMANDS:
        assert any(command.startswith(f"audioprune {line.words}") for command in SHOWN), (
            f"no page shows any more: {line.words}"
        )
    for command in SHOWN:
        assert command.startswith("audioprune "), (
            f"a block without a mark holds something else than commands: {command}"
        )


def _module(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return the names of a module that dataclasses find by its name."""
    module = ModuleType("example")
    monkeypatch.setitem(sys.modules, "example", module)
    return module.__dict__


@pytest.mark.parametrize(
    ("page", "code"),
    blocks("python"),
    ids=[f"{page}-{place}" for place, (page, _) in enumerate(blocks("python"))],
)
def test_the_python_of_a_page_runs(
    page: str, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(code, page, "exec"), _module(monkeypatch))
    if "zero units" in code:
        found = re.fullmatch(r"zero units: (\d+)%, kept: (\d+)\n", said.getvalue())
        assert found
        share, kept = map(int, found.groups())
        assert 0 < kept < 64 and abs(share - 100 * (1 - kept / 64)) <= 1


def test_every_block_has_a_mark_that_is_tested() -> None:
    marks = {mark for text in TEXTS.values() for mark in re.findall(r"^```(\w+)$", text, re.M)}
    assert marks <= {"python", "text"}


def test_readme_is_short() -> None:
    lines = README.splitlines()
    assert len(lines) < 120
    paragraphs = re.split(r"\n\s*\n", re.sub(r"^```.*?^```$", "", README, flags=re.M | re.S))
    prose = [each for each in paragraphs if not each.startswith(("|", "#", "- ", "!"))]
    assert max(len(each.split()) for each in prose) <= 60


def test_links_between_pages_lead_somewhere() -> None:
    for page, text in TEXTS.items():
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            file, _, anchor = link.partition("#")
            if link.startswith(("http:", "https:")):
                continue
            target = (ROOT / page).parent / file if file else ROOT / page
            assert target.is_file(), f"{page}: {link}"
            if anchor:
                heads = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.M)
                slugs = {
                    re.sub(r"[^a-z0-9 -]", "", head.lower()).replace(" ", "-") for head in heads
                }
                assert anchor in slugs, f"{page}: {link}"


@pytest.mark.parametrize("target", re.findall(r"^([a-z0-9-]+):.*## ", MAKEFILE, re.MULTILINE))
def test_a_target_of_make_can_be_read(target: str) -> None:
    settings = [
        "P1_DATA=data=vctk data.root=/v",
        "DATA=data=noisy_mixtures data.speech_root=/s data.noise_root=/n",
        "SEEDS=0,1,2",
    ]
    for more in ([], settings):
        done = subprocess.run(
            ["make", "-n", target, *more], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0 and done.stdout, done.stderr


def test_every_make_command_names_a_target() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", MAKEFILE, re.MULTILINE))
    shown = [line.split()[1] for line in [*commands(), *SPANS] if re.match(r"make [a-z]", line)]
    assert len(shown) > 5 and set(shown) <= targets


GROUPS = ("data", "model", "pipeline", "experiment", "task", "report", "platform")


@pytest.mark.parametrize("span", sorted({span for span in SPANS if re.match(r"[a-z_]+=", span)}))
def test_options_that_a_page_names_exist(span: str) -> None:
    for word in shlex.split(span):
        group, _, option = word.partition("=")
        named = option and "..." not in option and "<" not in option and ":" not in option
        if group in GROUPS and named:
            assert (ROOT / "conf" / group / f"{option}.yaml").is_file(), word


def test_keys_that_a_page_names_exist() -> None:
    known = {item.name for node in schema.classes().values() for item in fields(node)}
    spans = [span for span in SPANS if not span.endswith(".apz")]
    keys = [
        re.match(r"(?:data|model|task|pipeline|training|runtime|scoring)((?:\.\w+)+)", span)
        for span in spans
    ]
    named = {match[1].split(".")[1] for match in keys if match}
    known |= {"args", "example", "seconds", "output"}  # what is said of a network of one's own
    assert len(named) > 10 and named <= known, named - known


def test_readme_shows_verbs_that_exist() -> None:
    assert {line.split()[1] for line in SHOWN} <= set(cli.VERBS)
    assert set(re.findall(r"^\| `(\w+)` \|", README, re.MULTILINE)) == set(cli.VERBS)
