"""docs/shrink.md from what was measured: ``page_text``; what was not measured is not there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scripts.shrinking.plans import Network

Result = Mapping[str, Any]
_HEAD = """# Public networks, smaller

What `make shrink` measured: each network of the shelf (`model=zoo/...`) as its package has it, in
dynamic int8 by torch, and in the forms that one command each makes of it. It learns from its
original alone (`task=imitate`): no labels enter a loss.

Bytes are those of the file: the original's as float32, int8 as `torch.save` writes it, all others
packed and bit-exact. MACs are dense. Time is CPU time of one thread for a second of audio, the
median of fifteen; packed weights are computed with as dense ones, so that only forms with fewer
units are faster. On a machine that does other work beside it, equal networks differ by up to a
half. Scores are those of held-out audio that no form was fitted to.
"""


def page_text(networks: Mapping[str, Network], found: Mapping[str, Result]) -> str:
    """Return the page: a table for every network, and which were not measured."""
    lines = [_HEAD]
    for name, network in networks.items():
        lines += _section(name, network, found.get(name))
    return "\n".join(lines).rstrip() + "\n"


def _section(name: str, network: Network, result: Result | None) -> list[str]:
    lines = [f"## {network.title}", "", *([network.aim, ""] if network.aim else [])]
    if result is None or "original" not in result:
        return [
            *lines,
            f"Not measured. `python scripts/shrink.py networks={name}` measures it.",
            "",
        ]
    forms = {form.name: result["forms"].get(form.name) for form in network.forms}
    measured = {title: form for title, form in forms.items() if form}
    smallest = _smallest(network, result["original"], measured)
    lines += [_verdict(network, smallest), _audio(result), ""]
    shown = [("the original", result["original"]), ("int8 by torch", result["int8"])]
    shown += list(measured.items())
    extra = [key for key in result["original"]["metrics"] if key != network.metric]
    head = ["form", "bytes", "smaller", "MAC/s (M)", "CPU ms/s", network.metric, *extra]
    lines += ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    whole = result["original"]["bytes"]
    for title, form in shown:
        cells = [
            f"**{title}**" if title == smallest else title,
            f"{form['bytes']:,}",
            f"{whole / form['bytes']:.1f}x",
            f"{form['macs_per_second'] / 1e6:,.1f}",
            f"{form['cpu_ms_per_second']:.2f}",
            *(_number(form["metrics"].get(key)) for key in (network.metric, *extra)),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    missing = [title for title, form in forms.items() if not form]
    lines += ["", f"Not measured: {'; '.join(missing)}."] if missing else []
    lines += ["", "Commands:", "", "```text"]
    lines += ["audioprune " + " ".join(form["command"]) for form in measured.values()]
    return [*lines, "```", ""]


def _audio(result: Result) -> str:
    held = ", ".join(f"{name} {count} items" for name, count in result["held_out"].items())
    return f"Audio: {result['audio']} for training; held out: {held}."


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _smallest(network: Network, original: Result, forms: Mapping[str, Result]) -> str | None:
    """Return the smallest form whose score is within the drop; None where there is none."""
    sign = 1 if network.larger_is_better else -1
    allowed = {
        title: form
        for title, form in forms.items()
        if form["score"] is not None
        and sign * (original["score"] - form["score"]) <= network.drop + 1e-12
    }
    return min(allowed, key=lambda title: allowed[title]["bytes"]) if allowed else None


def _verdict(network: Network, smallest: str | None) -> str:
    wish = f"{network.metric} at most {network.drop:g} worse than the original's"
    if smallest is None:
        return f"No form that was tried keeps {wish}."
    return f"The smallest form with {wish}: **{smallest}**."
