"""Whether the claims of Plain & Biswas hold in our runs, each under the condition that the slides state.

A claim is judged at the scale of the runs; nothing is tuned or chosen to make one hold. Statuses
and conditions are in verdicts.py.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from audioprune.report.baselines import no_better
from audioprune.report.claims import (
    HELD,
    NOT_HELD,
    NOT_MEASURED,
    NOT_SHOWN,
    Bound,
    Claim,
    Interval,
    Side,
    Verdict,
    all_cells,
    claim_of,
    interval,
    paired,
    ready,
    same_corpus,
    same_settings,
    same_width,
    something_removed,
)
from audioprune.report.claims import claims_table as judged_table
from audioprune.report.claims import judge as judge_number
from audioprune.report.papers.p1.paper import DCAE, DCAE_10, DCAE_PR, POST, System, partner
from audioprune.report.tables import Table, metric_column

NEARLY_HALF = 0.45
"""Fewest non-zero weights removed that still count as nearly 50 %; the paper's own configuration gave 47 %."""
_SAME_SPARSITY = 0.02
_LEAST_LISTENERS = 3
_BOTH_WAYS = "the interval over listeners reaches both ways"
_HALF_A_GRADE = (
    10.0  # points of MUSHRA; a loss of less is none that listeners would name differently
)
Told = Mapping[str, Any]
Seed = int | None


@dataclass(frozen=True)
class Change:
    """By how much a metric is better in every seed, and half the 95 % interval that its recordings leave open."""

    metric: str
    values: Mapping[Seed, float]
    half: float

    @property
    def mean(self) -> float:
        """Mean over the seeds."""
        return statistics.fmean(self.values.values())

    @property
    def better(self) -> Verdict:
        """Whether it is better by more than the recordings leave open."""
        return judge_number(self.values, Bound(above=self.half))

    @property
    def worse(self) -> Verdict:
        """Whether it is worse by more than the recordings leave open."""
        return judge_number(self.values, Bound(below=-self.half))

    @property
    def kept(self) -> Verdict:
        """Whether it is not worse by more than the recordings leave open."""
        return judge_number(self.values, Bound(at_least=-self.half))

    @property
    def text(self) -> str:
        """The change in words, such as ``STOI -0.0012 [-0.0030, +0.0006] (recordings 0.0102)``."""
        found: Interval | None = interval(self.values.values())
        told = f"{self.mean:+.4f}" if found is None else found.text(decimals=4)
        return (
            f"{metric_column(self.metric, self.metric).title} {told} (recordings {self.half:.4f})"
        )


def judge(systems: Sequence[System], reported: Told, ratings: Told | None = None) -> list[Claim]:
    """Judge all claims of the paper by the given systems, and by ratings of listeners where there are any."""
    told = reported["claims"]
    judged = [*_enhances(systems, told["enhances"]), *_reduction(systems, told["reduction"])]
    judged += [*_deeper(systems, told["deeper"]), *_during(systems, told["during"])]
    judged += _smaller(systems, told["smaller"])
    return judged + (list(_heard(ratings, told)) if ratings else [])


def claims_table(systems: Sequence[System], reported: Told, ratings: Told | None = None) -> Table:
    """Return the judged claims as a table."""
    notes = (
        "Changes of metrics are positive where the first model is better, and stand with their "
        "interval over seeds; recordings is half "
        "the 95 % interval of the second's gain over the recordings, which a change must exceed.",
        *(f"{' '.join(note.split())}." for note in reported["notes"]),
    )
    return judged_table("p1_claims", judge(systems, reported, ratings), reported, notes)


def _published(told: Told) -> str:
    return f"{told['text']} ({told['source']})"


def _of(systems: Sequence[System], kind: str) -> list[System]:
    return [system for system in systems if system.kind == kind]


def _side(system: System) -> Side:
    removed = (
        system.entry.size("sparsity").mean or 0.0 if system.entry.variant == "pruned" else None
    )
    jobs = system.entry.jobs[: len(system.entry.seeds)]
    return Side(system.name, tuple(jobs), removed, no_better(system.entry))


def _lacks(*systems: System, width: bool = True) -> tuple[str, ...]:
    """Return what a comparison lacks; numbers are paired by seed, so that the seeds need not be the same."""
    sides = [_side(system) for system in systems]
    found = (
        same_corpus(*sides),
        same_settings(*sides),
        same_width(*sides) if width else "",
        something_removed(*sides),
    )
    return tuple(filter(None, found))


def _changes(one: System, other: System) -> list[Change]:
    """Return for every metric by how much one system is better than another, seed by seed."""
    found = []
    for metric in one.metrics():
        values = paired(one.per_seed("gain", metric), other.per_seed("gain", metric))
        if values:
            found.append(Change(metric, values, other.number("gain_ci95", metric).mean or 0.0))
    return found


def _count(changes: Sequence[Change]) -> tuple[int, int, str]:
    """Return on how many metrics the change is clearly better, and clearly worse, and both in words."""
    better = sum(change.better.status == HELD for change in changes)
    worse = sum(change.worse.status == HELD for change in changes)
    words = f"clearly better on {better}, clearly worse on {worse} of {len(changes)} metrics"
    return better, worse, f"{words}: {_texts(changes)}"


def _texts(changes: Sequence[Change]) -> str:
    return ", ".join(change.text for change in changes)


def _facts(*systems: System) -> dict[str, Any]:
    seeds = set.intersection(*(set(system.entry.seeds) for system in systems))
    return {
        "seeds": len(seeds),
        "scale": " | ".join(dict.fromkeys(system.entry.scale for system in systems)),
    }


def _early(changes: Sequence[Change], lacks: Sequence[str], *systems: System) -> Verdict | None:
    seeds = min(len(change.values) for change in changes)
    return ready(seeds, lacks, [_side(system) for system in systems])


def _ahead(better: int, worse: int) -> Verdict:
    """Judge that more metrics are clearly better than clearly worse."""
    told = f"clearly better on {better}, clearly worse on {worse} metrics"
    if better == worse:
        return Verdict(NOT_SHOWN, f"{told}: neither way")
    return Verdict(HELD if better > worse else NOT_HELD, told)


def _enhances(systems: Sequence[System], told: Told) -> Iterator[Claim]:
    claim = (
        "The enhancer improves coded speech (more stand-in metrics gain than lose, beyond the "
        "interval)"
    )
    if not _of(systems, DCAE):
        yield Claim(claim, DCAE, NOT_MEASURED, "DCAE not run", _published(told))
    for system in _of(systems, DCAE):
        gains = [
            Change(
                m, _known(system.per_seed("gain", m)), system.number("gain_ci95", m).mean or 0.0
            )
            for m in system.metrics()
        ]
        gains = [gain for gain in gains if gain.values]
        if not gains:
            yield Claim(
                claim,
                system.name,
                NOT_MEASURED,
                "no gain over the coded input was recorded",
                _published(told),
            )
            continue
        better, worse, numbers = _count(gains)
        seeds = min(len(gain.values) for gain in gains)
        verdict = ready(seeds) or _ahead(better, worse)
        yield claim_of(claim, system.name, verdict, numbers, _published(told), **_facts(system))


def _known(values: Mapping[Seed, float | None]) -> dict[Seed, float]:
    return {seed: value for seed, value in values.items() if value is not None}


def _reduction(systems: Sequence[System], told: Told) -> Iterator[Claim]:
    claim = (
        "Nearly 50 % of the weights go with nearly no loss (no stand-in metric falls beyond the "
        "95 % interval of the unpruned gain)"
    )
    for system, base in _pairs(systems, (DCAE_PR, POST), DCAE):
        removed = _removed(system, base) if base else {}
        changes = _changes(system, base) if base else []
        if not removed or not changes:
            name = system.name if system else DCAE_PR
            yield Claim(claim, name, NOT_MEASURED, _why(system, base, "DCAE"), _published(told))
            continue
        cells = {metric_column(each.metric, each.metric).title: each.kept for each in changes}
        cells["share removed"] = judge_number(removed, Bound(at_least=NEARLY_HALF))
        verdict = _early(changes, _lacks(system, base), system, base) or all_cells(cells)
        share = statistics.fmean(removed.values())
        numbers = f"{100 * share:.1f} % fewer non-zeros; {_texts(changes)}"
        yield claim_of(
            claim, system.name, verdict, numbers, _published(told), **_facts(system, base)
        )


def _removed(system: System, base: System) -> dict[Seed, float]:
    """Return which fraction of the non-zeros of the unpruned model each seed has lost."""
    after, before = system.sizes("nonzero"), base.sizes("nonzero")
    return {
        seed: 1 - after[seed] / before[seed]
        for seed in after
        if before.get(seed) and after[seed] is not None
    }


def _pairs(
    systems: Sequence[System], kinds: Sequence[str], other: str
) -> list[tuple[Any, System | None]]:
    """Return every system of the first kinds with its partner of the other kind; one empty pair where there is none."""
    found = [
        (system, partner(system, systems, other))
        for kind in kinds
        for system in _of(systems, kind)
    ]
    return found or [(None, None)]


def _why(system: System | None, base: System | None, name: str) -> str:
    if system is None:
        return "no pruned model was run"
    return f"{name} not run" if base is None else "no metric was measured for both with one seed"


def _deeper(systems: Sequence[System], told: Told) -> Iterator[Claim]:
    claim = "Deeper layers end sparser than outer ones, the bottleneck apart"
    judged = False
    for system in [*_of(systems, DCAE_PR), *_of(systems, POST)]:
        halves = {
            seed: found
            for seed, layers in system.layers_per_seed.items()
            if (found := _halves(layers))
        }
        if not halves:
            continue
        judged = True
        inner, outer, neck = (
            statistics.fmean(each[place] for each in halves.values()) for place in range(3)
        )
        numbers = (
            f"inner half {100 * inner:.1f} %, outer half {100 * outer:.1f} %, bottleneck "
            f"{100 * neck:.1f} %"
        )
        lacks = (something_removed(_side(system)),)
        ahead = {
            seed: round(found[0] - found[1], 9) for seed, found in halves.items()
        }  # means of equal numbers differ a little
        verdict = judge_number(ahead, Bound(above=0.0), lacks, (_side(system),))
        numbers += "; the schedule itself says which layers are pruned"
        yield claim_of(claim, system.name, verdict, numbers, _published(told), **_facts(system))
    if not judged:
        yield Claim(
            claim, DCAE_PR, NOT_MEASURED, "no sparsity of layers was recorded", _published(told)
        )


def _halves(layers: Sequence[Any]) -> tuple[float, float, float] | None:
    """Return the mean sparsity of the inner layers, of the outer ones, and of the bottleneck; None for another kind of network."""
    encoder = [
        layer for layer in layers if layer.name.startswith("enc") and layer.depth is not None
    ]
    decoder = [
        layer for layer in layers if layer.name.startswith("dec") and layer.depth is not None
    ]
    if len(encoder) < 4 or len(encoder) != len(decoder):
        return None
    last = len(encoder) - 1
    depths = [(layer.depth, layer.sparsity) for layer in encoder[:last]]
    depths += [(last - layer.depth, layer.sparsity) for layer in decoder]
    inner = statistics.fmean(share for depth, share in depths if depth > last / 2)
    outer = statistics.fmean(share for depth, share in depths if depth <= last / 2)
    return inner, outer, encoder[-1].sparsity


def _during(systems: Sequence[System], told: Told) -> Iterator[Claim]:
    claim = (
        "Pruning during training is more effective than pruning after it (sparser, or clearly "
        "better at about the same sparsity)"
    )
    for system, post in _pairs(systems, (DCAE_PR,), POST):
        if system is None or post is None:
            absent = "DCAE_pr" if system is None else "p1_post"
            yield Claim(claim, DCAE_PR, NOT_MEASURED, f"{absent} not run", _published(told))
            continue
        ahead = paired(system.sizes("sparsity"), post.sizes("sparsity"))
        changes = _changes(system, post)
        if not ahead or not changes:
            yield Claim(
                claim,
                system.name,
                NOT_MEASURED,
                "sparsity or scores of one seed are missing",
                _published(told),
            )
            continue
        verdict = _early(changes, _lacks(system, post), system, post) or _effective(ahead, changes)
        shares = [100 * (each.entry.size("sparsity").mean or 0.0) for each in (system, post)]
        epochs = [each.trained("epochs").mean or 0 for each in (system, post)]
        numbers = (
            f"sparsity {shares[0]:.1f} against {shares[1]:.1f} %; epochs {epochs[0]:g} against "
            f"{epochs[1]:g}; "
        )
        yield claim_of(
            claim,
            system.name,
            verdict,
            f"{numbers}{_count(changes)[2]}",
            _published(told),
            **_facts(system, post),
        )


def _effective(ahead: Mapping[Seed, float], changes: Sequence[Change]) -> Verdict:
    """Judge that the first of two pruned models is sparser, or clearly better where both are about as sparse."""
    better, worse, _ = _count(changes)
    difference = statistics.fmean(ahead.values())
    if abs(difference) <= _SAME_SPARSITY:
        return _ahead(better, worse)
    if (difference > 0) != (better >= worse):
        trade = "sparser but worse" if difference > 0 else "better but less sparse"
        return Verdict(NOT_SHOWN, f"{trade}: neither is clearly more effective")
    return judge_number(ahead, Bound(above=0.0))


def _smaller(systems: Sequence[System], told: Told) -> Iterator[Claim]:
    claim = (
        "The pruned model does at least as well as the unpruned smaller one, with fewer "
        "non-zero weights"
    )
    for system, small in _pairs(systems, (DCAE_PR,), DCAE_10):
        changes = _changes(system, small) if small else []
        fewer = paired(system.sizes("nonzero"), small.sizes("nonzero")) if small else {}
        if not changes or not fewer:
            name = system.name if system else DCAE_PR
            yield Claim(
                claim, name, NOT_MEASURED, _why(system, small, "DCAE_10"), _published(told)
            )
            continue
        better, worse, words = _count(changes)
        sizes = [each.entry.size("nonzero").mean for each in (system, small)]
        numbers = f"{sizes[0]:,.0f} against {sizes[1]:,.0f} non-zeros; {words}"
        # The networks differ by a layer: that is the claim.
        lacks = (*_lacks(system, small, width=False), _other_multiple(system, small))
        verdict = _early(changes, lacks, system, small) or all_cells(
            _as_well(fewer, changes, better, worse)
        )
        yield claim_of(
            claim, system.name, verdict, numbers, _published(told), **_facts(system, small)
        )


def _as_well(
    fewer: Mapping[Seed, float], changes: Sequence[Change], better: int, worse: int
) -> dict[str, Verdict]:
    kept = [change.kept.status == HELD for change in changes]
    if worse > better:
        quality = Verdict(
            NOT_HELD, f"clearly better on {better}, clearly worse on {worse} metrics"
        )
    elif better > worse or all(kept):
        quality = Verdict(HELD, "as claimed")
    else:
        quality = Verdict(NOT_SHOWN, "the intervals leave a loss open")
    return {"non-zeros": judge_number(fewer, Bound(below=0.0)), "quality": quality}


def _other_multiple(system: System, small: System) -> str:
    """Return that the two networks were scaled by different factors, or an empty text."""
    factors = [str(each.entry.jobs[0].config.get("model.width", 1.0)) for each in (system, small)]
    return "" if factors[0] == factors[1] else f"the widths differ ({' | '.join(factors)})"


def _heard(ratings: Told, told: Told) -> Iterator[Claim]:
    """Judge by listeners: by the 95 % interval over them."""
    questions = (
        (DCAE, "coded", "enhances", "Listeners rate the enhancer above the coded input"),
        (
            DCAE_PR,
            DCAE,
            "reduction",
            "Listeners do not rate the pruned model below the unpruned one",
        ),
        (
            DCAE_PR,
            DCAE_10,
            "smaller",
            "Listeners do not rate the pruned model below the smaller one",
        ),
    )
    for first, second, key, claim in questions:
        rows = [
            row
            for row in ratings["differences"]
            if (row["first"], row["second"], row["listeners"]) == (first, second, "all")
        ]
        for row in rows:
            numbers = (
                f"{first} - {second}: {row['mean']:+.1f} points, {row['listener_n']} listeners"
            )
            low, high = row["listener_low"], row["listener_high"]
            if low is not None and high is not None:
                numbers += f", interval {low:+.1f} to {high:+.1f}"
            verdict = _by_listeners(row, key == "enhances")
            yield claim_of(
                claim,
                row["test"],
                verdict,
                numbers,
                _published(told[key]),
                scale=f"{row['n']} ratings",
            )


def _by_listeners(row: Told, above: bool) -> Verdict:
    """Judge a difference by its interval over listeners: above 0, or not below it by more than half a grade."""
    low, high = row["listener_low"], row["listener_high"]
    if low is None or high is None or row["listener_n"] < _LEAST_LISTENERS:
        return Verdict(
            NOT_MEASURED, f"an interval over listeners takes {_LEAST_LISTENERS} of them"
        )
    if high < 0:
        return Verdict(NOT_HELD, "the whole interval over listeners lies below 0")
    if above:
        return (
            Verdict(HELD, "the interval over listeners lies above 0")
            if low > 0
            else Verdict(NOT_SHOWN, _BOTH_WAYS)
        )
    if low >= -_HALF_A_GRADE:
        return Verdict(
            HELD, f"the interval over listeners leaves no loss of {_HALF_A_GRADE:g} points open"
        )
    return Verdict(
        NOT_SHOWN, f"the interval over listeners leaves a loss of {-low:.0f} points open"
    )
