"""Whether the claims of Tan & Wang (ICASSP 2021) hold in our runs, with numbers and reasons.

``RULES`` lists the claims; each rule takes the evidence and judges its claim for every model. A
claim is judged at the scale of the runs. Nothing is tuned or chosen to make one hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from audioprune.report.claims import (
    NOT_MEASURED,
    Bound,
    Claim,
    Seed,
    Verdict,
    all_cells,
    claim_of,
    judge,
)
from audioprune.report.papers.p2.further import WIDEST_LEFT, prunes_further
from audioprune.report.papers.p2.pairs import (
    Pair,
    changes_text,
    intervals_text,
    nearest,
    spread_text,
)
from audioprune.report.papers.p2.rows import MODELS, P2Evidence, deviations, set_apart, values_of
from audioprune.report.runs.job import scale_notes
from audioprune.report.tables import metric_column

# The widest intervals over seeds that can show a change of STOI and of PESQ.
WIDEST_STOI, WIDEST_PESQ = 0.04, 0.4
# Parameters of the baseline over those of the pruned model; 1.26 and 1.07 in Table 1.
SAME_SIZE = (0.8, 1.5)
_BEATS = "A pruned model beats an unpruned one of about its size (mean STOI and PESQ higher)"
_COMPARED = (
    "Judged by the 95 % interval of paired differences over at least 3 seeds at all SNRs of the "
    "paper, by a bootstrap over items and seeds where runs told the scores of every item, else "
    "over seeds alone; both sides must share corpus, settings, seeds and (but for the baseline) "
    "width, something must have been removed, and each model must beat the mixture."
)
_TOO_WIDE = (
    f"Wider intervals than {100 * WIDEST_STOI:g} points of STOI, {WIDEST_PESQ:g} of PESQ and "
    f"{100 * WIDEST_LEFT:g} points of the parameters left compare nothing."
)
JudgePair = Callable[[Pair, P2Evidence], tuple[Verdict, str]]
"""Gives the verdict on a pair, and our numbers in words."""


def notes(evidence: P2Evidence) -> tuple[str, ...]:
    """Return the sentences below the table of claims."""
    return _COMPARED, _TOO_WIDE, *deviations(evidence), *scale_notes(evidence.jobs)


def beats_same_size(evidence: P2Evidence) -> Iterator[Claim]:
    """Judge that a pruned model beats an unpruned one of about its size."""
    published = evidence.printed("table_1")
    for model in MODELS:
        pruned, baseline = f"{model}_P", f"{model}_B"
        run = pruned in evidence.rows and baseline in evidence.rows
        if pruned in published or run:
            told = _published_change(published, pruned, baseline)
            yield from _pairs(evidence, _BEATS, (pruned, baseline), told, _judge_same_size)


def compressed(evidence: P2Evidence) -> Iterator[Claim]:
    """Judge that compression costs little STOI at any SNR."""
    limit = evidence.published["claims"]["compressed"]["loss_points"]
    claim = f"Compression costs at most about {limit:g} STOI points at any SNR"
    published = evidence.printed("table_2")
    for model in MODELS:
        pair = (f"{model}_C", f"{model}_U")
        told = _published_change(published, *pair)
        yield from _pairs(evidence, claim, pair, told, _judge_drop(limit))


def structured(evidence: P2Evidence) -> Iterator[Claim]:
    """Judge that structured compression costs even less STOI at any SNR."""
    limit = evidence.published["claims"]["structured"]["loss_points"]
    claim = f"Structured compression costs at most {limit:g} STOI point at any SNR"
    published = evidence.printed("table_2")
    for model in MODELS:
        pair = (f"{model}_C-SP", f"{model}_U")
        if pair[0] in published or pair[0] in evidence.rows:
            told = _published_change(published, *pair)
            yield from _pairs(evidence, claim, pair, told, _judge_drop(limit))


RULES = (beats_same_size, prunes_further, compressed, structured)


def _published_change(published: Mapping[str, Mapping[str, Any]], one: str, other: str) -> str:
    if one not in published or other not in published:
        return "-"
    left, right = published[one], published[other]
    told = []
    for name, key, unit in (("STOI", "stoi_percent", " points"), ("PESQ", "pesq", "")):
        changes = [a - b for a, b in zip(left[key], right[key], strict=True)]
        told.append(f"{name} {' / '.join(f'{change:+.2f}' for change in changes)}{unit}")
    return "; ".join(told)


def _pairs(
    evidence: P2Evidence, claim: str, names: tuple[str, str], published: str, judge_pair: JudgePair
) -> Iterator[Claim]:
    """Judge every entry of one row against its partner of another, or say what is missing."""
    subject = f"{names[0]} against {names[1]}"
    absent = [name for name in names if name not in evidence.rows]
    if absent:
        yield Claim(claim, subject, NOT_MEASURED, f"{' and '.join(absent)} not run", published)
        return
    apart = set_apart(evidence.rows[names[0]])
    for one in evidence.rows[names[0]]:
        pair = Pair(names, one, nearest(names, one, evidence.rows[names[1]]))
        told = ", ".join(f"{key}={value}" for key, value in values_of(one, apart).items())
        title = f"{subject} ({told})" if told else subject
        verdict, numbers = judge_pair(pair, evidence)
        yield claim_of(
            claim, title, verdict, numbers, published, seeds=len(pair.seeds), scale=one.scale
        )


def _judge_same_size(pair: Pair, evidence: P2Evidence) -> tuple[Verdict, str]:
    ratios, size_told = _ratios(pair)
    metrics = ("stoi", evidence.pesq)
    conditions = [*pair.conditions(width=False), *_unlike_in_size(ratios)]
    cells = {}
    for metric, widest in zip(metrics, (WIDEST_STOI, WIDEST_PESQ), strict=True):
        differences = pair.differences(metric, evidence.snrs)
        verdict = judge(differences, Bound(above=0.0, margin=widest), conditions, pair.sides())
        cells[metric_column(metric, metric).title] = verdict
    numbers = (
        changes_text(pair, metrics),
        size_told,
        intervals_text(pair, evidence.snrs, metrics),
    )
    return all_cells(cells), f"{'; '.join(filter(None, numbers))}{spread_text(pair)}"


def _ratios(pair: Pair) -> tuple[dict[Seed, float], str]:
    """Return per seed how many times more parameters the baseline has, and the same in words."""
    small, large = pair.one.size_by_seed("nonzero"), pair.other.size_by_seed("nonzero")
    ratios = {}
    for seed in pair.seeds:
        few, many = small.get(seed), large.get(seed)
        if few and many is not None:
            ratios[seed] = many / few
    if not ratios:
        return {}, "sizes not recorded"
    least, most = f"{min(ratios.values()):.2f}", f"{max(ratios.values()):.2f}"
    told = least if least == most else f"{least} to {most}"
    return ratios, f"the baseline has {told} times the parameters"


def _unlike_in_size(ratios: Mapping[Seed, float]) -> list[str]:
    if not ratios:
        return ["the sizes are not recorded"]
    outside = [
        f"{ratio:.2f} times in seed {seed}"
        for seed, ratio in ratios.items()
        if not SAME_SIZE[0] <= ratio <= SAME_SIZE[1]
    ]
    return [f"not of the same size in every seed: {', '.join(outside)}"] if outside else []


def _judge_drop(limit: float) -> JudgePair:
    """Return the judge of a drop of STOI of at most ``limit`` points at every SNR."""

    def judge_pair(pair: Pair, evidence: P2Evidence) -> tuple[Verdict, str]:
        bound = Bound(at_most=limit / 100, margin=WIDEST_STOI)
        conditions = pair.conditions(width=True)
        cells = {}
        for snr in evidence.snrs:
            changes = pair.differences("stoi", (snr,))
            cells[f"{snr:g} dB"] = judge(changes.negated(), bound, conditions, pair.sides())
        told = (
            changes_text(pair, ("stoi", evidence.pesq)),
            intervals_text(pair, evidence.snrs, ("stoi",)),
        )
        numbers = "; ".join(filter(None, told)) or "STOI was not measured for both"
        return all_cells(cells), f"{numbers}{spread_text(pair)}"

    return judge_pair
