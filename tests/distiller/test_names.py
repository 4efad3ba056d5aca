"""Which parameter a name means."""

from __future__ import annotations

import pytest

from audioprune.distiller.names import resolve, short
from audioprune.errors import ConfigError

KNOWN = ["enc_blocks.0.conv.weight", "enc_blocks.1.conv.weight", "prelu.weight"]


def _strict(name: str, problem: str) -> None:
    raise ConfigError(problem)


def test_containers_and_wrappers_do_not_matter() -> None:
    for prefix in ("", "G.", "module.G.", "G.module."):
        spelled = prefix + KNOWN[0]
        assert resolve([spelled], KNOWN, _strict) == {spelled: KNOWN[0]}
    assert resolve(["conv.weight"], ["module.conv.weight"], _strict) == {
        "conv.weight": "module.conv.weight"
    }
    assert resolve(["a.weight"], ["G.a.weight", "D.a.weight"], _strict) == {
        "a.weight": "G.a.weight"
    }
    assert short("G") == "G" and short("module.x") == "x"


def test_an_exact_name_goes_before_a_shortened_one() -> None:
    assert resolve(["G.a"], ["G.a", "a"], _strict) == {"G.a": "G.a"}
    with pytest.raises(ConfigError, match="means each of module.a, G.a"):
        resolve(["a"], ["module.a", "G.a"], _strict)


def test_unknown_names_are_refused_with_the_closest() -> None:
    with pytest.raises(
        ConfigError,
        match="unknown parameter 'G.enc blocks.0.conv.weight'; closest: enc_blocks.0.conv.weight",
    ):
        resolve(["G.enc blocks.0.conv.weight"], KNOWN, _strict)
    left_out: list[str] = []
    assert resolve(["x", KNOWN[2]], KNOWN, lambda name, _: left_out.append(name)) == {
        KNOWN[2]: KNOWN[2]
    } and left_out == ["x"]


def test_the_default_and_double_names() -> None:
    assert resolve(["*"], KNOWN, _strict, default=True) == {"*": "*"}
    with pytest.raises(ConfigError, match=r"unknown parameter '\*'"):
        resolve(["*"], KNOWN, _strict)
    with pytest.raises(ConfigError, match="named twice, the second time as 'G.prelu.weight'"):
        resolve(["prelu.weight", "G.prelu.weight"], KNOWN, _strict)
