"""Every class of the package that a configuration names satisfies its contract, and says so."""

from __future__ import annotations

import importlib
import inspect
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from torch import nn

import audioprune.steps as steps
from audioprune import protocols
from audioprune.errors import ConfigError

ROOT = Path(__file__).resolve().parent.parent
CONFIGURED = [*ROOT.glob("conf/**/*.yaml"), *ROOT.glob("audioprune/schema/**/*.py")]
CONTRACTS = [
    kind
    for kind in vars(protocols).values()
    if inspect.isclass(kind) and getattr(kind, "_is_runtime_protocol", False)
]


def _named(room: str) -> list[type]:
    """Return the classes of a room that configurations and their schema name as targets."""
    text = "".join(path.read_text(encoding="utf-8") for path in CONFIGURED)
    found = set(re.findall(rf"(?:\"|_target_: )(audioprune\.{room}\.[\w.]*\.?[A-Z]\w*)", text))
    assert found, f"no class of audioprune.{room} is configured"
    kinds = [_imported(target) for target in sorted(found)]
    return [kind for kind in kinds if inspect.isclass(kind)]


def _imported(target: str) -> Any:
    module, _, name = target.rpartition(".")
    return getattr(importlib.import_module(module), name)


def _steps() -> list[type]:
    kinds = [getattr(steps, name) for name in steps.__all__]
    return [kind for kind in kinds if inspect.isclass(kind)]


def _lacking(cls: type, contract: type) -> list[str]:
    """Return the members of a contract that neither a class nor its constructor defines."""
    missing = [each for each in protocols.members(contract) if not hasattr(cls, each)]
    return [each for each in missing if f"self.{each}" not in _source(cls)]


@cache
def _source(cls: type) -> str:
    ours = [each for each in cls.__mro__ if each.__module__.startswith("audioprune.")]
    return "".join(inspect.getsource(each) for each in ours)


@pytest.mark.parametrize("cls", _named("tasks"), ids=lambda cls: cls.__name__)
def test_every_task_satisfies_its_contract(cls: type) -> None:
    if not _lacking(cls, protocols.NotScored):
        return  # it measures nothing
    assert _lacking(cls, protocols.Task) == []
    for contract in (protocols.HasLoss, protocols.Shares, protocols.HasMonitors):
        if cls.__name__ != "Adversarial" or contract is not protocols.HasLoss:
            assert _lacking(cls, contract) == []


@pytest.mark.parametrize("cls", _named("data"), ids=lambda cls: cls.__name__)
def test_every_corpus_satisfies_its_contract(cls: type) -> None:
    assert _lacking(cls, protocols.Corpus) == []


@pytest.mark.parametrize("cls", _named("models"), ids=lambda cls: cls.__name__)
def test_every_model_satisfies_its_contracts(cls: type) -> None:
    assert issubclass(cls, nn.Module)
    assert _lacking(cls, protocols.Costed) == []
    derived = {"GTCRN"}  # its units are found in it
    assert cls.__name__ in derived or _lacking(cls, protocols.Prunable) == []


@pytest.mark.parametrize("cls", _steps(), ids=lambda cls: cls.__name__)
def test_every_step_satisfies_its_contract(cls: type) -> None:
    assert _lacking(cls, protocols.Step) == []


@pytest.mark.parametrize("cls", _named("tasks") + _named("data"), ids=lambda cls: cls.__name__)
def test_callers_may_pass_what_the_contract_says(cls: type) -> None:
    for contract in CONTRACTS:
        if _lacking(cls, contract):
            continue
        for name in protocols.members(contract):
            wanted, own = getattr(contract, name, None), getattr(cls, name, None)
            if inspect.isfunction(wanted) and inspect.isfunction(own):
                assert _parameters(own) == _parameters(wanted), f"{cls.__name__}.{name}"


def _parameters(method: Any) -> list[tuple[str, Any]]:
    found = inspect.signature(method).parameters.values()
    return [(each.name, each.kind) for each in found if each.name != "self"]


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda kind: kind.__name__)
def test_a_class_that_lacks_a_member_is_refused_in_one_line(contract: type) -> None:
    names = protocols.members(contract)
    assert names
    for missing in names:
        given = type("Given", (), {name: None for name in names if name != missing})()
        with pytest.raises(ConfigError) as caught:
            protocols.require(given, contract, "task x", "add it")
        wanted = f"expected {contract.__name__} ({missing} missing), got Given; add it"
        assert str(caught.value) == f"task x: {wanted}"


def test_what_satisfies_a_contract_comes_back() -> None:
    class Given:
        z_seed = 3

    given = Given()
    assert protocols.require(given, protocols.SeedsNoise, "model", "add it") is given


def test_defaults_of_what_a_class_does_not_say() -> None:
    class Silent:
        scores_audio = False
        changes_state = False

        def run(self, run: Any, path: str) -> None:
            """Do nothing."""

    class Plain:
        def run(self, run: Any, path: str) -> None:
            """Do nothing."""

    assert protocols.scores_audio(Plain()) and not protocols.scores_audio(Silent())
    assert protocols.changes_state(Plain()) and not protocols.changes_state(Silent())
