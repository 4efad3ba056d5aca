"""The claims of Esling et al. word by word: every branch of every verdict, with what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from audioprune.report.claims import Claim
from audioprune.report.papers.p3.paper import PAPER
from audioprune.report.papers.p3.tickets import P3Evidence, Ticket, tickets_of
from audioprune.report.platforms import Platform
from audioprune.report.published import read_reported
from audioprune.report.runs.job import Job

SCALE = "desk; notes; width 8"
REPORTED = read_reported(None, "p3")
FULL = 100_000
BOARDS = [
    Platform("Uno", 1.0, 1.0, 60_000.0, 1.0, "Arduino"),
    Platform("RPi 1B", 1.0, 1e12, 80_000.0, 1e12),
]
AS_CLAIMED = "the whole interval over seeds is as claimed"
NOT_AS_CLAIMED = "no part of the interval over seeds is as claimed"
FEW = "an interval over seeds needs at least 3 of them"
MASKED = "Masked networks (local, magnitude) have a lower error than the unpruned one"
TRIMMED = "Trimmed networks (global, information) have a lower error than the unpruned one"
FAR = "Trimming (global, information) costs nothing at 95 % removed"
FURTHEST = "Trimming (global, information) costs a factor of at most about 1.2 at 99 % removed"
FREED = "Masking nearly all weights frees at most a third of the units"
WIDE = "Global selection trims better than local up to 90 % removed"
LOCAL = "Local is better beyond 90 %"
BEST = "Information is the best criterion of global trimming up to 90 % removed"
REWOUND = "Rewound networks do better than reinitialised ones, {}"
MASKS, TRIMS = "masked (local, magnitude)", "trimmed (global, information)"
ARDUINO = (
    "A network fits the drive of an Arduino only at 2.5 times the error or more; none fits its "
    "memory and speed"
)
RASPBERRY = "Trimmed networks fit drive and memory of the RPi 1B"
KEYS = {
    MASKED: "masking_best",
    TRIMMED: "trimming_best",
    FAR: "trimming_95",
    FURTHEST: "trimming_99",
    f"{FREED} (local)": "prunability",
    f"{FREED} (global)": "prunability",
    WIDE: "scope",
    LOCAL: "scope",
    BEST: "information",
    REWOUND.format(MASKS): "reset",
    REWOUND.format(TRIMS): "reset",
    ARDUINO: "arduino",
    RASPBERRY: "raspberry",
}


def judge(tickets, reported, platforms):
    """Judge all claims of the paper by some tickets."""
    return PAPER.claims.judge(P3Evidence((), reported, tickets, platforms))


def _lottery(
    multipliers,
    mode="trim",
    scope="global",
    criterion="information",
    reset="rewind",
    seeds=(0, 1, 2),
    model="SING",
    scale=SCALE,
    freed=None,
    config=(),
    step=0.7,
    **more,
) -> list[Ticket]:
    """Return the tickets of one lottery of every seed, round by round."""
    jobs = []
    for seed in seeds:
        rows = []
        for number, multiplier in enumerate(multipliers):
            left = step**number
            params = round(FULL * left) if mode == "trim" else FULL
            row = {
                "key": f"score/{number}",
                "kind": "lottery",
                "label": model,
                "model": model,
                "dataset": "notes",
                "seed": seed,
            }
            row |= {
                "mode": mode,
                "scope": scope,
                "criterion": criterion,
                "reset": reset,
                "iteration": number,
                "params": params,
            }
            row |= {
                "mask_sparsity": 1 - left if mode == "mask" else 0.0,
                "units": 100,
                "fraction": 0.3,
                "scaling": "max",
            }
            row |= {"units_masked": 0 if freed is None else freed[number], "counted": "weights"}
            row |= {
                "flops_s": params,
                "disk": params,
                "rw_r": params,
                "rw_w": 10,
                "test": multiplier,
                "multiplier": multiplier,
            }
            rows.append({**row, **more})
        name = f"{model}-{mode}-{scope}-{criterion}-{reset}-{seed}"
        jobs.append(
            Job(Path(name), name, seed=seed, scale=scale, rows=tuple(rows), config=dict(config))
        )
    return tickets_of(jobs)


def _judged(claim: str, *tickets: Ticket, boards=BOARDS) -> Claim:
    (found,) = [found for found in judge(tickets, REPORTED, boards) if found.claim == claim]
    return found


def _claim(
    claim: str,
    status: str,
    numbers: str,
    reason: str = "",
    model: str = "SING",
    seeds: int = 3,
    scale: str = SCALE,
) -> Claim:
    told = REPORTED["claims"][KEYS[claim]]
    return Claim(
        claim, model, status, numbers, f"{told['text']} ({told['source']})", seeds, scale, reason
    )


def _missing(claim: str, numbers: str) -> Claim:
    return _claim(claim, "not measured", numbers, model="-", seeds=0, scale="-")


def test_without_a_run_every_claim_says_what_is_missing() -> None:
    assert judge([], REPORTED, BOARDS) == [
        _missing(MASKED, "not run"),
        _missing(TRIMMED, "not run"),
        _missing(FAR, "not run"),
        _missing(FURTHEST, "not run"),
        _missing(f"{FREED} (local)", "not run"),
        _missing(f"{FREED} (global)", "not run"),
        _missing(WIDE, "no lottery with both selections at such ratios"),
        _missing(LOCAL, "no lottery with both selections at such ratios"),
        _missing(BEST, "information or its rivals not run"),
        _missing(REWOUND.format(MASKS), "not run with both"),
        _missing(REWOUND.format(TRIMS), "not run with both"),
        _missing(ARDUINO, "no trimmed network"),
        _missing(RASPBERRY, "no trimmed network"),
    ]
    tickets = _lottery([1, 0.9])
    assert _judged(ARDUINO, *tickets, boards=[]) == _missing(ARDUINO, "no trimmed network")
    assert _judged(RASPBERRY, *tickets, boards=[]) == _missing(RASPBERRY, "no trimmed network")
    assert _judged(TRIMMED, *_lottery([1])) == _missing(TRIMMED, "not run")
    assert _judged(FAR, *tickets) == _missing(FAR, "at most 30.0 % removed")


def test_the_best_round_of_trimmed_networks() -> None:
    numbers = (
        "lowest 0.800 [0.800, 0.800] at 51.0 %; 1.200 [1.200, 1.200] at 76.0 %; below 1 up to "
        "51.0 %"
    )
    tickets = _lottery([1, 0.9, 0.8, 1.0, 1.2])
    assert _judged(TRIMMED, *tickets) == _claim(TRIMMED, "held", numbers, AS_CLAIMED)
    worse = _judged(TRIMMED, *_lottery([1, 1.5, 1.25]))
    numbers = "lowest 1.250 [1.250, 1.250] at 51.0 %; 1.250 [1.250, 1.250] at 51.0 %"
    assert worse == _claim(TRIMMED, "did not hold", numbers, NOT_AS_CLAIMED)
    one = _judged(TRIMMED, *_lottery([1, 0.9], seeds=(0,)))
    assert one == _claim(
        TRIMMED,
        "one seed: not judged",
        "lowest 0.900 at 30.0 %; 0.900 at 30.0 %; below 1 up to 30.0 %",
        FEW,
        seeds=1,
    )


def test_the_best_round_of_masked_networks_of_two_models() -> None:
    mask = {"mode": "mask", "scope": "local", "criterion": "magnitude"}
    tickets = _lottery([1, 0.5], **mask) + _lottery(
        [1, 0.75], model="DDSP", scale="desk; other", **mask
    )
    numbers = (
        "lowest 0.625 [0.500, 0.750] at 30.0 %; 0.625 [0.500, 0.750] at 30.0 %; below 1 up to "
        "30.0 %; there SING 0.500, DDSP 0.750"
    )
    expected = _claim(
        MASKED, "held", numbers, AS_CLAIMED, "SING, DDSP", scale=f"{SCALE} | desk; other"
    )
    assert _judged(MASKED, *tickets) == expected


def test_seeds_have_the_same_lotteries_and_models_the_same_training() -> None:
    tickets = _lottery([1, 0.5]) + _lottery([1, 0.75], model="DDSP", seeds=(0, 1))
    claim = _judged(TRIMMED, *tickets)
    assert (claim.status, claim.reason) == ("not comparable", "the seeds have different lotteries")
    tickets = _lottery([1, 0.5], seeds=(0, 1)) + _lottery(
        [1, 0.75], seeds=(2,), config={"training.epochs": 3}
    )
    assert _judged(TRIMMED, *tickets).reason == "the settings differ (training.epochs none | 3)"
    tickets = _lottery([1, 0.5], seeds=(0, 1)) + _lottery(
        [1, 0.75], seeds=(2,), scale="desk; width 9"
    )
    assert _judged(TRIMMED, *tickets).reason == "the widths differ (8 | 9)"


@pytest.mark.parametrize(
    ("claim", "rounds", "error", "status", "reason"),
    [
        (FAR, 9, 1.04, "held", AS_CLAIMED),
        (FAR, 9, 1.06, "did not hold", NOT_AS_CLAIMED),
        (FURTHEST, 13, 1.24, "held", AS_CLAIMED),
        (FURTHEST, 13, 1.26, "did not hold", NOT_AS_CLAIMED),
    ],
)
def test_the_cost_at_high_ratios(claim, rounds, error, status, reason) -> None:
    removed = {9: 96.0, 13: 99.0}[rounds]
    tickets = _lottery([1.0] * rounds + [error, 9.0])
    numbers = f"{error:.3f} [{error:.3f}, {error:.3f}] at {removed:.1f} %"
    assert _judged(claim, *tickets) == _claim(claim, status, numbers, reason)


@pytest.mark.parametrize("scope", ["local", "global"])
@pytest.mark.parametrize(
    ("freed", "status", "reason"), [(33, "held", AS_CLAIMED), (34, "did not hold", NOT_AS_CLAIMED)]
)
def test_units_that_masking_frees(scope, freed, status, reason) -> None:
    mask = {"mode": "mask", "scope": scope, "criterion": "magnitude"}
    rounds = [0] * 15 + [freed]
    tickets = _lottery([1.0] * 16, freed=rounds, **mask)
    numbers = f"{freed}.0 % [{freed}.0, {freed}.0] of the units at 99.5 %"
    assert _judged(f"{FREED} ({scope})", *tickets) == _claim(
        f"{FREED} ({scope})", status, numbers, reason
    )
    early = _judged(f"{FREED} ({scope})", *_lottery([1.0, 1.0], freed=[0, freed], **mask))
    assert (
        early.reason == "30.0 % of the weights are masked, the paper masks 99.5 %"
        and early.status == "not comparable"
    )
    assert _judged(f"{FREED} ({scope})", *_lottery([1.0], **mask)).numbers == "not run"


def test_global_and_local_selection() -> None:
    wide = [1, *[0.5] * 6, *[1.5] * 2]  # 30 % to 88.2 % and 91.8 %, 94.2 % removed
    tickets = _lottery(wide) + _lottery([1] * 9, scope="local")
    numbers = "means over rounds: local 1.000, global 0.500; as claimed in 6 of 6 rounds"
    assert _judged(WIDE, *tickets) == _claim(WIDE, "held", numbers, AS_CLAIMED)
    numbers = "means over rounds: local 1.000, global 1.500; as claimed in 2 of 2 rounds"
    assert _judged(LOCAL, *tickets) == _claim(LOCAL, "held", numbers, AS_CLAIMED)
    swapped = _lottery([1] * 9) + _lottery(wide, scope="local")
    numbers = "means over rounds: local 0.500, global 1.000; as claimed in 0 of 6 rounds"
    assert _judged(WIDE, *swapped) == _claim(WIDE, "did not hold", numbers, NOT_AS_CLAIMED)
    numbers = "means over rounds: local 1.500, global 1.000; as claimed in 0 of 2 rounds"
    assert _judged(LOCAL, *swapped) == _claim(LOCAL, "did not hold", numbers, NOT_AS_CLAIMED)


def test_information_against_every_rival() -> None:
    rivals = {"magnitude": 1.0, "gradient": 1.25, "activation": 0.75}
    tickets = _lottery([1, 0.5])
    for name, error in rivals.items():
        tickets += _lottery([1, error], criterion=name)
    told = [f"information 0.500 against {name} {error:.3f}" for name, error in rivals.items()]
    numbers = f"means over common rounds: {'; '.join(told)}"
    reason = "as claimed in all of magnitude, gradient, activation"
    assert _judged(BEST, *tickets) == _claim(BEST, "held", numbers, reason)
    with_norm = tickets + _lottery([1, 0.25], criterion="normalization")
    claim = _judged(BEST, *with_norm)
    assert (claim.status, claim.reason) == ("did not hold", f"normalization: {NOT_AS_CLAIMED}")
    assert "; information 0.500 against normalization 0.250" in claim.numbers
    few = [ticket for ticket in tickets if ticket.criterion in ("information", "gradient")]
    assert _judged(BEST, *few).reason == "magnitude, activation not measured"
    assert _judged(BEST, *_lottery([1, 0.5])) == _missing(
        BEST, "information or its rivals not run"
    )


@pytest.mark.parametrize(
    ("words", "wanted"),
    [(MASKS, {"mode": "mask", "scope": "local", "criterion": "magnitude"}), (TRIMS, {})],
)
def test_rewound_against_reinitialised(words, wanted) -> None:
    claim = REWOUND.format(words)
    tickets = _lottery([1, 0.5, 1.5], **wanted) + _lottery(
        [1, 1.0, 1.25], reset="reinit", **wanted
    )
    numbers = "means over rounds: rewound 1.000, reinitialised 1.125; better in 1 of 2 rounds"
    assert _judged(claim, *tickets) == _claim(claim, "held", numbers, AS_CLAIMED)
    equal = _lottery([1, 1.0], **wanted) + _lottery([1, 1.0], reset="reinit", **wanted)
    numbers = "means over rounds: rewound 1.000, reinitialised 1.000; better in 0 of 1 rounds"
    assert _judged(claim, *equal) == _claim(claim, "did not hold", numbers, NOT_AS_CLAIMED)


def test_networks_on_an_arduino() -> None:
    tickets = _lottery([1, 1.5, 2.5])  # 49,000 of 100,000 bytes; the drive has 60,000
    numbers = "SING at 2.50 (51.0 % removed); memory and speed fit 0 of 6 networks"
    assert _judged(ARDUINO, *tickets) == _claim(
        ARDUINO, "held", numbers, "as claimed in all of drive, memory and speed"
    )
    cheap = _judged(ARDUINO, *_lottery([1, 1.5, 2.4]))
    assert (cheap.status, cheap.reason) == ("did not hold", f"drive: {NOT_AS_CLAIMED}")
    none = _judged(ARDUINO, *_lottery([1, 3.0]))
    assert none.numbers == "none fits a drive; memory and speed fit 0 of 3 networks"
    assert (none.status, none.reason) == (
        "not measured",
        "drive: no seed has the numbers of both sides",
    )
    board = [Platform("Uno", 1.0, 1e9, 60_000.0, 1e9, "Arduino")]
    whole = _judged(ARDUINO, *tickets, boards=board)
    assert (whole.status, whole.reason) == (
        "did not hold",
        "memory and speed: 6 of 6 networks fit",
    )
    large = [Platform("Uno", 1.0, 1.0, 1e9, 1.0, "Arduino")]
    assert (
        _judged(ARDUINO, *tickets, boards=large).reason
        == "drive: an unpruned network of this scale fits the drive already"
    )


def test_networks_on_a_raspberry() -> None:
    tickets = _lottery([1, 1.5, 2.5])
    assert _judged(RASPBERRY, *tickets) == _claim(
        RASPBERRY, "held", *["3 of 3 fit; real-time: 3"] * 2
    )
    small = [Platform("RPi 1B", 1.0, 1.0, 10.0, 1e12)]
    assert _judged(RASPBERRY, *tickets, boards=small) == _claim(
        RASPBERRY, "did not hold", *["0 of 3 fit; real-time: 0"] * 2
    )
    large = [Platform("RPi 1B", 1.0, 1.0, 1e9, 1e12)]
    already = "every unpruned network of this scale fits already"
    expected = _claim(RASPBERRY, "not comparable", "3 of 3 fit; real-time: 0", already)
    assert _judged(RASPBERRY, *tickets, boards=large) == expected
    one = _judged(RASPBERRY, *_lottery([1, 1.5], seeds=(0,)))
    assert (one.status, one.reason) == ("one seed: not judged", FEW)
    mixed = _lottery([1, 1.5]) + _lottery([1, 1.5], model="DDSP", seeds=(0,))
    assert (
        _judged(RASPBERRY, *mixed).status == "held"
    )  # machines are compared with lotteries of any kind


def test_networks_that_are_idle_show_nothing() -> None:
    idle = _judged(TRIMMED, *_lottery([1, 0.5], trivial=0.5, trivial_name="silence"))
    assert idle.status == "not shown"
    assert idle.reason == "what the verdict rests on is no better than silence in 6 of 6 networks"
    fits = _judged(RASPBERRY, *_lottery([1, 0.5], trivial=0.5))
    assert (fits.status, fits.numbers) == ("did not hold", "0 of 0 fit; real-time: 0")


def test_networks_off_their_schedule_are_in_no_comparison() -> None:
    tickets = _lottery([1, 0.5]) + _lottery([1, 1.0], scope="local", step=0.9)
    assert _judged(WIDE, *tickets).numbers == "no lottery with both selections at such ratios"
    tickets = _lottery([1, 0.5, float("nan")]) + _lottery([1, 1.0, 1.0], scope="local")
    assert _judged(WIDE, *tickets).numbers.endswith("in 1 of 1 rounds")


def test_the_table_of_claims_says_how_to_read_it() -> None:
    table = PAPER.claims.table(P3Evidence((), REPORTED, _lottery([1, 0.5], trivial=0.5), BOARDS))
    assert (table.name, len(table.rows)) == ("p3_claims", 13)
    assert table.notes[1:] == (
        "Multipliers are means over models and seeds at one round, with the least and the "
        "largest in brackets; a verdict rests on the "
        "means of the seeds. Networks that are no better than a trivial prediction show nothing.",
        "No better than silence or a constant prediction, and in the means all the same: 6 of 6 "
        "SING networks.",
        *(f"{note}." for note in REPORTED["notes"]),
    )
