"""Systems of a test: the paper's three sets, model files, and what a manifest says of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from listening_parts import RATE, TASK, corpus, model_file
from tiny_runs import MyNet

from audioprune import checkpoint
from audioprune.errors import CheckpointError, ConfigError
from audioprune.files import sha256_file
from audioprune.listening.items import choose_items
from audioprune.listening.systems import TESTS, check_systems, load_system
from audioprune.models.fdnn import FDNN


def test_the_three_tests_of_the_paper() -> None:
    assert TESTS == {
        "pre_pruning": ("DCAE",),
        "pruned": ("DCAE", "DCAE_pr"),
        "smaller": ("DCAE", "DCAE_pr", "DCAE_10"),
    }
    for test, names in TESTS.items():
        check_systems(test, dict.fromkeys(names, "x"))
    check_systems("custom", {"A": "x"})


@pytest.mark.parametrize(
    ("test", "names", "message"),
    [
        ("prunde", ["DCAE"], "unknown test 'prunde'; closest: pruned"),
        ("pruned", ["DCAE"], "expected systems.DCAE_pr=... for test=pruned, got systems DCAE"),
        (
            "pre_pruning",
            ["DCAE", "X"],
            "expected the systems DCAE for test=pre_pruning, got also X",
        ),
        ("custom", [], "expected systems.A=... for test=custom, got systems none"),
        ("custom", ["a b"], "expected names of systems of letters, digits and _, got 'a b'"),
    ],
)
def test_wrong_systems_are_named(test: str, names: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_systems(test, dict.fromkeys(names, "x"))
    assert message in str(caught.value)


def test_a_file_enhances_as_its_task_does(tmp_path: Path) -> None:
    from audioprune.tasks.enhancement import Enhancement

    path = model_file(tmp_path / "a.safetensors")
    system = load_system("A", str(path), RATE, 0)
    item = choose_items(corpus(), 1, 0, (0.1, 9.0))[0]
    torch.manual_seed(0)
    expected = Enhancement().enhance(
        FDNN(width=4, depth=1).eval(), torch.from_numpy(item.unprocessed.astype(np.float32))[None]
    )[0]
    assert np.allclose(system.enhance(item), expected.numpy(), atol=1e-6)
    facts = system.facts()
    params = 161 * 4 + 4 + 4 * 161 + 161
    assert (
        facts["sha256"] == sha256_file(path)
        and facts["params"] == params
        and facts["model"] == "FDNN"
        and facts["z_seed"] is None
    )


def test_a_users_own_model_takes_part_where_it_is_named(tmp_path: Path) -> None:
    own = {"name": "own", "_target_": "tiny_runs.MyNet", "width": 6}
    task = {"name": "irm", "_target_": "audioprune.tasks.enhancement.Enhancement"}
    tensors = {f"model/{name}": value for name, value in MyNet(6).state_dict().items()}
    file = checkpoint.write(tmp_path / "x.safetensors", tensors, {"model": own, "task": task})
    named = {"_target_": own["_target_"]}
    assert load_system("A", str(file), RATE, 0, named).facts()["model"] == "MyNet"
    with pytest.raises(CheckpointError, match="give it yourself with model=tiny_runs:MyNet"):
        load_system("A", str(file), RATE, 0)


def test_noise_of_a_generator_has_the_seed_of_the_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FDNN, "z_seed", 7, raising=False)
    assert (
        load_system("A", str(model_file(tmp_path / "a.safetensors")), RATE, 3).facts()["z_seed"]
        == 3
    )


def test_files_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = model_file(tmp_path / "a.safetensors")
    with pytest.raises(
        ConfigError,
        match="systems.A: expected a model for 48000 Hz as the corpus, got one for 16000 Hz",
    ):
        load_system("A", str(path), 48000, 0)
    with pytest.raises(ConfigError, match="expected a file that says its task"):
        load_system("A", str(model_file(tmp_path / "b.safetensors", None)), RATE, 0)
    scenes = {"_target_": "audioprune.tasks.scenes.SceneClassification", "classes": 10}
    with pytest.raises(
        ConfigError,
        match="systems.A: expected a model that enhances signals, got the task "
        "SceneClassification",
    ):
        load_system("A", str(model_file(tmp_path / "c.safetensors", scenes)), RATE, 0)
    unknown = {"_target_": "audioprune.tasks.scenes.Scenes", "classes": 10}
    with pytest.raises(CheckpointError, match="unknown task"):
        load_system("A", str(model_file(tmp_path / "d.safetensors", unknown)), RATE, 0)
    with pytest.raises(CheckpointError, match="does not exist"):
        load_system("A", str(tmp_path / "none.apz"), RATE, 0)
    assert TASK["name"] == "irm"
