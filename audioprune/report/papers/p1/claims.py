"""Whether the claims of Plain & Biswas hold in our runs, under the conditions of the slides.

``RULES`` judges them at the scale of the runs; nothing is tuned or chosen to make one hold.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence

from audioprune.report.claims import (
    HELD,
    NOT_HELD,
    NOT_MEASURED,
    NOT_SHOWN,
    Bound,
    Claim,
    Verdict,
    all_cells,
    claim_of,
    judge,
    ready,
    something_removed,
)
from audioprune.report.papers.p1.changes import (
    Change,
    Seed,
    changes_between,
    counted,
    facts_of,
    gains_of,
    lacks_of,
    more_better,
    published_text,
    ready_early,
    side_of,
    texts_of,
)
from audioprune.report.papers.p1.listeners import heard
from audioprune.report.papers.p1.systems import (
    DCAE,
    DCAE_10,
    DCAE_PR,
    POST,
    Layer,
    P1Evidence,
    System,
    partner,
)
from audioprune.report.runs.intervals import paired
from audioprune.report.tables import metric_column

NEARLY_HALF = 0.45
"""Least share of non-zero weights that counts as nearly 50 %; the slides' schedule gave 47 %."""


_SAME_SPARSITY = 0.02


def notes(evidence: P1Evidence) -> tuple[str, ...]:
    """Return the sentences below the table of claims."""
    return (
        "Changes of metrics are positive where the first model is better, and stand with their "
        "interval over seeds; recordings is half "
        "the 95 % interval of the second's gain over the recordings, which a change must exceed.",
        *(f"{' '.join(note.split())}." for note in evidence.published["notes"]),
    )


def _of(systems: Sequence[System], kind: str) -> list[System]:
    return [system for system in systems if system.kind == kind]


def enhances(evidence: P1Evidence) -> Iterator[Claim]:
    """Judge that the enhancer improves coded speech."""
    systems, told = evidence.systems, evidence.published["claims"]["enhances"]
    claim = (
        "The enhancer improves coded speech (more stand-in metrics gain than lose, beyond the "
        "interval)"
    )
    if not _of(systems, DCAE):
        yield Claim(claim, DCAE, NOT_MEASURED, "DCAE not run", published_text(told))
    for system in _of(systems, DCAE):
        gains = gains_of(system)
        if not gains:
            why = "no gain over the coded input was recorded"
            yield Claim(claim, system.name, NOT_MEASURED, why, published_text(told))
            continue
        better, worse, numbers = counted(gains)
        seeds = min(len(gain.values) for gain in gains)
        verdict = ready(seeds) or more_better(better, worse)
        yield claim_of(
            claim, system.name, verdict, numbers, published_text(told), **facts_of(system)
        )


def reduction(evidence: P1Evidence) -> Iterator[Claim]:
    """Judge that nearly half the weights go with nearly no loss."""
    systems, told = evidence.systems, evidence.published["claims"]["reduction"]
    claim = (
        "Nearly 50 % of the weights go with nearly no loss (no stand-in metric falls beyond the "
        "95 % interval of the unpruned gain)"
    )
    for system, base in _pairs(systems, (DCAE_PR, POST), DCAE):
        removed = _removed(system, base) if system and base else {}
        changes = changes_between(system, base) if system and base else []
        if system is None or base is None or not removed or not changes:
            name = system.name if system else DCAE_PR
            why = _why(system, base, "DCAE")
            yield Claim(claim, name, NOT_MEASURED, why, published_text(told))
            continue
        cells = {metric_column(each.metric, each.metric).title: each.kept for each in changes}
        cells["share removed"] = judge(removed, Bound(at_least=NEARLY_HALF))
        early = ready_early(changes, lacks_of(system, base), system, base)
        share = statistics.fmean(removed.values())
        numbers = f"{100 * share:.1f} % fewer non-zeros; {texts_of(changes)}"
        facts = facts_of(system, base)
        verdict = early or all_cells(cells)
        yield claim_of(claim, system.name, verdict, numbers, published_text(told), **facts)


def _removed(system: System, base: System) -> dict[Seed, float]:
    """Return which fraction of the non-zeros of the unpruned model each seed has lost."""
    after, before = system.entry.size_by_seed("nonzero"), base.entry.size_by_seed("nonzero")
    removed: dict[Seed, float] = {}
    for seed, left in after.items():
        whole = before.get(seed)
        if whole and left is not None:
            removed[seed] = 1 - left / whole
    return removed


def _pairs(
    systems: Sequence[System], kinds: Sequence[str], other: str
) -> list[tuple[System | None, System | None]]:
    """Return every system of the first kinds with its partner of the other kind.

    Where there is no such system, it is one empty pair.
    """
    mine = [system for kind in kinds for system in _of(systems, kind)]
    pairs = [(system, partner(system, systems, other)) for system in mine]
    return [*pairs] or [(None, None)]


def _why(system: System | None, base: System | None, name: str) -> str:
    if system is None:
        return "no pruned model was run"
    return f"{name} not run" if base is None else "no metric was measured for both with one seed"


def deeper(evidence: P1Evidence) -> Iterator[Claim]:
    """Judge that deeper layers end sparser."""
    systems, told = evidence.systems, evidence.published["claims"]["deeper"]
    claim = "Deeper layers end sparser than outer ones, the bottleneck apart"
    judged = False
    for system in [*_of(systems, DCAE_PR), *_of(systems, POST)]:
        every = {seed: _halves(layers) for seed, layers in system.layers_per_seed.items()}
        halves = {seed: found for seed, found in every.items() if found}
        if not halves:
            continue
        judged = True
        inner, outer, neck = map(statistics.fmean, zip(*halves.values(), strict=True))
        numbers = (
            f"inner half {100 * inner:.1f} %, outer half {100 * outer:.1f} %, bottleneck "
            f"{100 * neck:.1f} %"
        )
        lacks = (something_removed(side_of(system)),)
        # means of equal numbers differ a little
        ahead = {seed: round(found[0] - found[1], 9) for seed, found in halves.items()}
        verdict = judge(ahead, Bound(above=0.0), lacks, (side_of(system),))
        numbers += "; the schedule itself says which layers are pruned"
        yield claim_of(
            claim, system.name, verdict, numbers, published_text(told), **facts_of(system)
        )
    if not judged:
        why = "no sparsity of layers was recorded"
        yield Claim(claim, DCAE_PR, NOT_MEASURED, why, published_text(told))


def _halves(layers: Sequence[Layer]) -> tuple[float, float, float] | None:
    """Return the mean sparsity of the inner layers, of the outer ones, and of the bottleneck.

    None for another kind of network.
    """
    encoder = _depths(layers, "enc")
    decoder = _depths(layers, "dec")
    if len(encoder) < 4 or len(encoder) != len(decoder):
        return None
    last = len(encoder) - 1
    depths = encoder[:last] + [(last - depth, share) for depth, share in decoder]
    inner = statistics.fmean(share for depth, share in depths if depth > last / 2)
    outer = statistics.fmean(share for depth, share in depths if depth <= last / 2)
    return inner, outer, encoder[-1][1]


def _depths(layers: Sequence[Layer], side: str) -> list[tuple[int, float]]:
    """Return depth and sparsity of the layers of encoder or decoder."""
    found = []
    for layer in layers:
        if layer.name.startswith(side) and layer.depth is not None:
            found.append((layer.depth, layer.sparsity))
    return found


def during(evidence: P1Evidence) -> Iterator[Claim]:
    """Judge that pruning during training is more effective than after it."""
    systems, told = evidence.systems, evidence.published["claims"]["during"]
    claim = (
        "Pruning during training is more effective than pruning after it (sparser, or clearly "
        "better at about the same sparsity)"
    )
    for system, post in _pairs(systems, (DCAE_PR,), POST):
        if system is None or post is None:
            absent = "DCAE_pr" if system is None else "p1_post"
            yield Claim(claim, DCAE_PR, NOT_MEASURED, f"{absent} not run", published_text(told))
            continue
        ahead = paired(system.entry.size_by_seed("sparsity"), post.entry.size_by_seed("sparsity"))
        changes = changes_between(system, post)
        if not ahead or not changes:
            why = "sparsity or scores of one seed are missing"
            yield Claim(claim, system.name, NOT_MEASURED, why, published_text(told))
            continue
        early = ready_early(changes, lacks_of(system, post), system, post)
        shares = [100 * (each.entry.size("sparsity").mean or 0.0) for each in (system, post)]
        epochs = [each.trained("epochs").mean or 0 for each in (system, post)]
        numbers = (
            f"sparsity {shares[0]:.1f} against {shares[1]:.1f} %; epochs {epochs[0]:g} against "
            f"{epochs[1]:g}; {counted(changes)[2]}"
        )
        verdict, facts = early or _effective(ahead, changes), facts_of(system, post)
        yield claim_of(claim, system.name, verdict, numbers, published_text(told), **facts)


def _effective(ahead: Mapping[Seed, float], changes: Sequence[Change]) -> Verdict:
    """Judge that the first model is sparser, or clearly better where both are about as sparse."""
    better, worse, _ = counted(changes)
    difference = statistics.fmean(ahead.values())
    if abs(difference) <= _SAME_SPARSITY:
        return more_better(better, worse)
    if (difference > 0) != (better >= worse):
        trade = "sparser but worse" if difference > 0 else "better but less sparse"
        return Verdict(NOT_SHOWN, f"{trade}: neither is clearly more effective")
    return judge(ahead, Bound(above=0.0))


def smaller(evidence: P1Evidence) -> Iterator[Claim]:
    """Judge that the pruned model does as well as an unpruned smaller one."""
    systems, told = evidence.systems, evidence.published["claims"]["smaller"]
    claim = (
        "The pruned model does at least as well as the unpruned smaller one, with fewer "
        "non-zero weights"
    )
    for system, small in _pairs(systems, (DCAE_PR,), DCAE_10):
        changes = changes_between(system, small) if system and small else []
        fewer = _fewer(system, small) if system and small else {}
        if system is None or small is None or not changes or not fewer:
            name = system.name if system else DCAE_PR
            why = _why(system, small, "DCAE_10")
            yield Claim(claim, name, NOT_MEASURED, why, published_text(told))
            continue
        better, worse, words = counted(changes)
        sizes = [each.entry.size("nonzero").mean for each in (system, small)]
        numbers = f"{sizes[0]:,.0f} against {sizes[1]:,.0f} non-zeros; {words}"
        # The networks differ by a layer: that is the claim.
        lacks = (*lacks_of(system, small, width=False), _other_multiple(system, small))
        early = ready_early(changes, lacks, system, small)
        verdict = early or all_cells(_as_well(fewer, changes, better, worse))
        facts = facts_of(system, small)
        yield claim_of(claim, system.name, verdict, numbers, published_text(told), **facts)


def _fewer(system: System, small: System) -> dict[Seed, float]:
    """Return by how much the non-zeros of the first differ from those of the second."""
    return paired(system.entry.size_by_seed("nonzero"), small.entry.size_by_seed("nonzero"))


def _as_well(
    fewer: Mapping[Seed, float], changes: Sequence[Change], better: int, worse: int
) -> dict[str, Verdict]:
    kept = [change.kept.status == HELD for change in changes]
    if worse > better:
        told = f"clearly better on {better}, clearly worse on {worse} metrics"
        quality = Verdict(NOT_HELD, told)
    elif better > worse or all(kept):
        quality = Verdict(HELD, "as claimed")
    else:
        quality = Verdict(NOT_SHOWN, "the intervals leave a loss open")
    return {"non-zeros": judge(fewer, Bound(below=0.0)), "quality": quality}


def _other_multiple(system: System, small: System) -> str:
    """Return that the two networks were scaled by different factors, or an empty text."""
    factors = [str(each.entry.jobs[0].config.get("model.width", 1.0)) for each in (system, small)]
    return "" if factors[0] == factors[1] else f"the widths differ ({' | '.join(factors)})"


RULES = (enhances, reduction, deeper, during, smaller, heard)
