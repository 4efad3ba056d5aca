"""Every number and word of an optimiser is checked before any step."""

from __future__ import annotations

import math

import pytest
import torch
from optim_toys import seeded_param
from torch import nn

from audioprune.errors import ConfigError
from audioprune.optim import ADMM, HSPG, OBProxSG, ProxSG, options

GOOD = {"lr": 0.1, "lmbda": 0.1, "units": "rows", "prox_steps": 5}
BAD = [
    *({"lr": value} for value in (-1, math.nan, math.inf, "fast", None, True)),
    *({"lmbda": value} for value in (-1e-9, math.nan)),
    *({"epsilon": value} for value in (-0.1, 1.0, math.nan)),
    *({"prox_steps": value} for value in (-1, 2.5, "x", math.nan, True)),
    *({"target_group_sparsity": value} for value in (0.0, 1.1, -1)),
    *({"betas": value} for value in ((0.9,), (0.9, 1.0), 0.9)),
    *({"momentum": value} for value in (1.0, -0.1)),
    {"base": "adam", "momentum": 0.9},
    {"base": "rmsprop"},
    {"eps": 0.0},
    {"weight_decay": -1},
    {"first_stage": "proximal"},
    {"regularizer_inside_moments": 1},
    {"fused": "yes"},
    {"maximize": True},
    {"units": "columns"},
    {"units": None},
    {"units": [3]},
]


@pytest.mark.parametrize("wrong", BAD, ids=str)
def test_wrong_options_are_one_line_errors(wrong: dict) -> None:
    with pytest.raises(ConfigError) as caught:
        HSPG([seeded_param()], **{**GOOD, **wrong})
    assert "\n" not in str(caught.value)


def test_wrong_param_groups_are_refused_and_leave_the_optimiser_as_it_was() -> None:
    optimizer = HSPG([seeded_param()], **GOOD)
    for wrong in (
        {"lamda": 0.1},
        {"lr": -1},
        {"maximize": True},
        {"units": "colums"},
        {"norm": "l1"},
    ):
        with pytest.raises(ConfigError):
            optimizer.add_param_group({"params": [seeded_param(5)], **wrong})
        assert len(optimizer.param_groups) == len(optimizer.layouts) == 1
    with pytest.raises(ConfigError, match="floating-point"):
        optimizer.add_param_group(
            {"params": [nn.Parameter(torch.ones(3, dtype=torch.int64), requires_grad=False)]}
        )
    with pytest.raises(ConfigError, match="closest: lmbda"):
        optimizer.add_param_group({"params": [seeded_param(5)], "lambda": 0.1})
    for nothing in ([], seeded_param()):
        with pytest.raises(ConfigError):
            HSPG(nothing, **GOOD)


@pytest.mark.parametrize(
    ("value", "settings", "told"),
    [
        (-1, {}, "expected a finite number x >= 0, got -1; set x within that range"),
        (True, {}, "expected a finite number x >= 0, got True; set x within that range"),
        ("0.5", {}, "expected a finite number x >= 0, got '0.5'; set x within that range"),
        (None, {}, "expected a finite number x >= 0, got None; set x within that range"),
        (math.inf, {}, "expected a finite number x >= 0, got inf; set x within that range"),
        (0.0, {"above": True}, "expected a finite number x > 0, got 0.0; set x within that range"),
        (
            1.0,
            {"high": 1.0},
            "expected a finite number x >= 0 and < 1, got 1.0; set x within that range",
        ),
        (
            1.1,
            {"high": 1.0, "below": False},
            "expected a finite number x >= 0 and <= 1, got 1.1; set x within that range",
        ),
        (0, {"low": 0.5}, "expected a finite number x >= 0.5, got 0; set x within that range"),
    ],
)
def test_a_number_out_of_range_is_told_with_its_range(
    value: object, settings: dict, told: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        options.number("x", value, **settings)
    assert str(caught.value) == told


def test_numbers_on_the_edges_are_taken() -> None:
    assert options.number("x", 0) == 0.0 and options.number("x", 1.0, high=1.0, below=False) == 1.0
    assert options.number("x", torch.tensor(0.25)) == 0.25 and options.number("x", 1e30) == 1e30
    assert (
        options.number("x", 1e-9, above=True) == 1e-9
        and options.number("x", 0.999, high=1.0) == 0.999
    )


@pytest.mark.parametrize("value", [2, 2.5, "x", True, -math.inf, math.nan])
def test_a_count_is_whole_or_endless(value: object) -> None:
    with pytest.raises(ConfigError) as caught:
        options.count("steps", value, 3)
    assert (
        str(caught.value)
        == f"expected a whole number steps >= 3 or inf, got {value!r}; steps counts optimiser "
        f"steps"
    )
    for good in (3, 4, math.inf):
        options.count("steps", good, 3)


def test_words_switches_and_shares_are_told() -> None:
    with pytest.raises(ConfigError, match=r"^unknown base 'sdg'; closest: sgd"):
        options.choice("base", "sdg", options.BASES)
    with pytest.raises(
        ConfigError, match=r"^expected fused True or False, got None; set fused to one of these$"
    ):
        options.flag("fused", None)
    with pytest.raises(
        ConfigError,
        match=r"^expected fused True or False or None, got 1; set fused to one of these$",
    ):
        options.flag("fused", 1, optional=True)
    with pytest.raises(
        ConfigError,
        match=r"^expected a finite number cap > 0 and <= 1, got 0; set cap within that range$",
    ):
        options.share("cap", 0)
    options.flag("fused", None, optional=True)
    options.flag("fused", False)
    for good in (None, 1.0, 0.1):
        options.share("cap", good)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"lr": -1}, "expected a finite number lr >= 0, got -1"),
        ({"lmbda": -1}, "expected a finite number lmbda >= 0, got -1"),
        ({"weight_decay": -1}, "expected a finite number weight_decay >= 0, got -1"),
        ({"eps": 0}, "expected a finite number eps > 0, got 0"),
        ({"momentum": 1}, "expected a finite number momentum >= 0 and < 1, got 1"),
        ({"epsilon": 1}, "expected a finite number epsilon >= 0 and < 1, got 1"),
        ({"betas": (0.9, 1)}, "expected a finite number betas >= 0 and < 1, got 1"),
        (
            {"betas": (0.9,)},
            r"expected betas as a pair of numbers >= 0 and < 1, got \(0.9,\); for example "
            r"betas=\(0.9, 0.999\)$",
        ),
        ({"base": "adma"}, "unknown base optimiser 'adma'; closest: adam"),
        (
            {"base": "adam", "momentum": 0.5},
            "expected momentum=0 with base='adam', got 0.5; set betas instead$",
        ),
        ({"fused": "yes"}, "expected fused True or False or None, got 'yes'"),
        (
            {"maximize": True},
            "expected maximize=False, got True; minimise the negated loss instead$",
        ),
        ({"first_stage": "prix"}, "unknown first stage 'prix'; closest: prox"),
        ({"prox_steps": -1}, "expected a whole number prox_steps >= 0 or inf, got -1"),
        (
            {"target_group_sparsity": 2},
            "expected a finite number target_group_sparsity > 0 and <= 1, got 2",
        ),
        (
            {"regularizer_inside_moments": 1},
            "expected regularizer_inside_moments True or False, got 1",
        ),
    ],
)
def test_every_option_is_told_by_its_name(wrong: dict, told: str) -> None:
    with pytest.raises(ConfigError, match=f"^{told}"):
        HSPG([seeded_param()], **{**GOOD, **wrong})


def test_the_defaults_of_hspg_are_those_of_its_description() -> None:
    (group,) = HSPG([seeded_param()], 0.1, lmbda=0.2, units="rows", prox_steps=5).param_groups
    stated = {
        "lr": 0.1,
        "lmbda": 0.2,
        "prox_steps": 5,
        "epsilon": 0.0,
        "first_stage": "prox",
        "base": "sgd",
        "momentum": 0.0,
    }
    stated |= {
        "betas": (0.9, 0.999),
        "eps": 1e-8,
        "weight_decay": 0.0,
        "regularizer_inside_moments": False,
    }
    stated |= {"target_group_sparsity": None, "fused": None, "maximize": False}
    assert {key: group[key] for key in stated} == stated


COMMON = {
    "lr": 0.1,
    "lmbda": 0.2,
    "base": "sgd",
    "momentum": 0.0,
    "betas": (0.9, 0.999),
    "eps": 1e-8,
    "weight_decay": 0.0,
}
COMMON |= {"fused": None, "maximize": False}
OWN = {
    "proxsg": (ProxSG, {}, {"norm": "group"}),
    "obproxsg": (
        OBProxSG,
        {"prox_steps": 5},
        {"norm": "l1", "prox_steps": 5, "orthant_steps": None},
    ),
    "admm": (
        ADMM,
        {"rho": 1.0, "inner_steps": 3},
        {
            "rho": 1.0,
            "inner_steps": 3,
            "target_group_sparsity": None,
            "primal_square": 0.0,
            "dual_square": 0.0,
        },
    ),
}


@pytest.mark.parametrize("kind", OWN)
def test_the_defaults_of_the_others_are_those_of_their_descriptions(kind: str) -> None:
    make, given, stated = OWN[kind]
    (group,) = make([seeded_param()], 0.1, lmbda=0.2, units="rows", **given).param_groups
    assert {key: group[key] for key in COMMON | stated} == COMMON | stated


@pytest.mark.parametrize("kind", OWN)
def test_the_others_refuse_no_group_and_wrong_options_too(kind: str) -> None:
    make, given, _ = OWN[kind]
    with pytest.raises(ConfigError):
        make([seeded_param()], 0.1, lmbda=0.2, **given)
    for name in given:
        with pytest.raises(ConfigError, match=name):
            make([seeded_param()], 0.1, lmbda=0.2, units="rows", **{**given, name: -1})
