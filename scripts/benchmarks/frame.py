"""How is one thing measured against its peers in one process? ``Item``, with ``Run`` in its hands.

A benchmark is a module of this folder that holds ``ITEM = Item(...)``; ``scripts/bench.py`` finds,
runs and records it. Its ``rows`` gets a ``Run`` and yields what ``run.against`` and ``run.figure``
return. Our code and the peers take turns, each on one thread (this module says so to the libraries
before they are read: import it first), and times are CPU seconds of this process, with seconds of
the clock beside them. It never writes a file and never asserts a time.
"""

from __future__ import annotations

import gc
import importlib
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

THREADS = ("OMP", "OPENBLAS", "MKL", "NUMBA", "VECLIB_MAXIMUM", "NUMEXPR")
for _name in THREADS:
    os.environ.setdefault(f"{_name}_NUM_THREADS", "1")  # before numpy, numba and torch read them

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))


class Unequal(Exception):
    """Two candidates did not do the same work; the text says what differs."""


@dataclass(frozen=True)
class Goal:
    """A bound that a number is measured against.

    Attributes:
        value: The bound.
        most: Whether the number may be at most the bound; otherwise at least.
        of: What is bound: ``ratio`` to the peer, or ``ours``, our own number.
    """

    value: float
    most: bool = False
    of: str = "ratio"

    def met(self, number: float) -> bool:
        """Return whether the number keeps the bound."""
        return number <= self.value if self.most else number >= self.value


def at_least(value: float, of: str = "ratio") -> Goal:
    """Return a lower bound."""
    return Goal(value, False, of)


def at_most(value: float, of: str = "ratio") -> Goal:
    """Return an upper bound."""
    return Goal(value, True, of)


@dataclass
class Row:
    """One line of a table.

    Attributes:
        name: What was done, with its size.
        peer: What it is compared with; empty for a number of ours alone.
        unit: Of ``ours`` and ``theirs``: ``s``, ``ms``, ``bit``, ...
        ours: Median of our numbers.
        theirs: Median of the peer's.
        ratio: Times as fast as the peer (more is better), or where ``cost`` is set, times the
            peer's number (less is better).
        low: Least ratio of all turns.
        high: Largest ratio of all turns.
        cost: Whether less is better.
        wall: Ratio by the clock instead of CPU time, where times were taken.
        turns: Number of turns.
        goal: The bound, or None.
        met: Whether the bound is kept, or None without one.
        note: What both gave (the proof of equal work), or why they differ.
        was: The ratio that was recorded before, where it is worse by more than ``WORSE`` now.
    """

    name: str
    peer: str
    unit: str
    ours: float
    theirs: float | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    cost: bool = False
    wall: float | None = None
    turns: int = 1
    goal: Goal | None = None
    met: bool | None = None
    note: str = ""
    was: float | None = None

    def said(self) -> dict[str, Any]:
        """Return the row as JSON, without what is empty."""
        found = {key: value for key, value in asdict(self).items() if value not in (None, "")}
        return {
            key: float(f"{value:.5g}") if isinstance(value, float) else value
            for key, value in found.items()
        }


@dataclass
class Taken:
    """What one call cost, where a candidate measures itself (a process of its own, say)."""

    cpu: float
    wall: float
    result: Any = None


@dataclass
class Peer:
    """A candidate.

    Attributes:
        run: One piece of work; what it returns goes to ``check``. It may return ``Taken``.
        goal: The bound on the ratio of ours to this one, or None.
        turns: How often at most it takes its turn; the slow ones once.
        loops: Calls in one turn, for work too short to be timed alone.
        warm: Whether it is called once before the first turn.
    """

    run: Callable[[], Any]
    goal: Goal | None = None
    turns: int = 1000
    loops: int = 1
    warm: bool = False


@dataclass
class Run:
    """What an item is given: how much to do, and how to measure it.

    Attributes:
        quick: Whether this is the form of minutes.
        missing: Peers that are not installed, in the order in which they were asked for.
        shares: What is slow: a title, and seconds by part.
        versions: Version of every peer that was used.
    """

    quick: bool = True
    missing: list[str] = field(default_factory=list)
    shares: dict[str, dict[str, float]] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def peer(self, module: str, package: str = "") -> ModuleType | None:
        """Return a module that may be missing, and remember which."""
        package = package or module
        try:
            found = importlib.import_module(module)
        except ImportError:
            if package not in self.missing:
                self.missing.append(package)
            return None
        from importlib import metadata

        try:
            self.versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            self.versions[package] = str(getattr(found, "__version__", "?"))
        return found

    def against(
        self,
        name: str,
        ours: Callable[[], Any],
        peers: Mapping[str, Peer],
        *,
        check: Callable[[Any, Any], str] | None = None,
        turns: int = 5,
        loops: int = 1,
        warm: bool = True,
        unit: str = "s",
        cost: bool = False,
        goal: Goal | None = None,
        work: float | None = None,
    ) -> Iterator[Row]:
        """Let ours and every peer take turns, and yield a row for each peer.

        Args:
            name: What is done, with its size.
            ours: Our piece of work.
            peers: Label -> candidate.
            check: Given our result and a peer's (of the last turn), returns a note, or raises
                ``Unequal``.
            turns: Turns of each; a peer may take fewer.
            loops: Calls of ours in one turn.
            warm: Whether ours is called once before the first turn (to compile).
            unit: ``s`` or ``ms``, or with ``work`` the unit of a rate, such as ``Mweights/s``.
            cost: Whether the ratio is our time over the peer's; otherwise how many times as fast
                ours is.
            goal: A bound on ours for a row without a peer.
            work: Amount of work of one call, for rates.

        Yields:
            A row for each peer; without peers, or where a goal of ours is given, one of ours.
        """
        mine = Peer(ours, turns=turns, loops=loops, warm=warm)
        everyone: dict[str, Peer] = {"": mine, **peers}
        for each in everyone.values():
            if each.warm:
                each.run()
        taken: dict[str, list[Taken]] = {key: [] for key in everyone}
        for turn in range(turns):
            for key, each in everyone.items():
                if turn < each.turns:
                    taken[key].append(measured(each))
        own = [each.cpu for each in taken[""]]

        def number(seconds: float) -> float:
            return work / seconds if work else seconds * (1e3 if unit == "ms" else 1)

        if goal or not peers:
            value = number(statistics.median(own))
            yield Row(
                *(name, "", unit, value),
                turns=len(own),
                goal=goal,
                met=goal.met(value) if goal else None,
            )
        for key, each in peers.items():
            theirs = [one.cpu for one in taken[key]]
            row = Row(
                *(name, key, unit, number(statistics.median(own))),
                theirs=number(statistics.median(theirs)),
                cost=cost,
                turns=len(theirs),
                goal=each.goal,
            )
            # A peer with one turn is compared with each turn of ours.
            pairs = list(zip(own, theirs * len(own) if len(theirs) == 1 else theirs, strict=False))
            ratios = [mine / other if cost else other / mine for mine, other in pairs]
            row.ratio, row.low, row.high = statistics.median(ratios), min(ratios), max(ratios)
            walls = [
                (one.wall / other.wall if cost else other.wall / one.wall)
                for one, other in zip(taken[""], taken[key], strict=False)
            ]
            row.wall = statistics.median(walls)
            judged(row)
            if check:
                try:
                    row.note = check(taken[""][-1].result, taken[key][-1].result)
                except Unequal as error:
                    row.note, row.met = f"NOT the same work: {error}", False
            yield row

    def figure(
        self,
        name: str,
        ours: float,
        peers: Mapping[str, tuple[float, Goal | None]] | None = None,
        *,
        unit: str,
        cost: bool = True,
        goal: Goal | None = None,
        note: str = "",
    ) -> Iterator[Row]:
        """Yield rows of numbers that are no times: sizes, bandwidths, counts.

        Args:
            name: What the number is.
            ours: Our number.
            peers: Label -> the peer's number, and the bound on the ratio of ours to it.
            unit: Of the numbers.
            cost: Whether less is better; the ratio is ours over the peer's, either way.
            goal: A bound on our number, for a row without a peer.
            note: What the row says besides.
        """
        if goal or not peers:
            met = goal.met(ours) if goal else None
            yield Row(name, "", unit, ours, goal=goal, met=met, note=note, cost=cost)
        for label, (theirs, bound) in (peers or {}).items():
            row = Row(name, label, unit, ours, theirs, ours / theirs, cost=cost, goal=bound)
            row.note = note
            yield judged(row)

    def profile(self, title: str, parts: Mapping[str, Callable[[], Any]], turns: int = 3) -> None:
        """Record the CPU seconds of each part, which take turns: where the rest of a time is."""
        taken: dict[str, list[float]] = {key: [] for key in parts}
        for _ in range(turns):
            for key, run in parts.items():
                taken[key].append(measured(Peer(run)).cpu)
        self.shares[title] = {key: statistics.median(each) for key, each in taken.items()}


def judged(row: Row) -> Row:
    """Say of a row whether its ratio, or our number, keeps the goal."""
    if row.goal:
        number = row.ours if row.goal.of == "ours" else row.ratio
        assert number is not None
        row.met = row.goal.met(number)
    return row


def measured(peer: Peer) -> Taken:
    """Call a candidate ``loops`` times; return the seconds of one call."""
    gc.collect()
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(peer.loops):
        result = peer.run()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    if isinstance(result, Taken):
        return result
    return Taken(max(cpu, 1e-9) / peer.loops, max(wall, 1e-9) / peer.loops, result)


@dataclass(frozen=True)
class Item:
    """One benchmark.

    Attributes:
        title: Heading of its section of the page.
        about: What is measured, on what, against whom; two or three sentences.
        rows: Takes a ``Run`` and yields rows; it measures as it goes.
        why: What is still slow, and the reason, for goals that are missed and the rest of a time;
            without numbers that ``Run.profile`` measures.
        order: Place on the page.
    """

    title: str
    about: str
    rows: Callable[[Run], Iterator[Row]]
    why: str = ""
    order: int = 50
