"""Run the benchmarks, each in a process of its own, and record what they measured.

    python scripts/bench.py                     every item, in a form of minutes
    python scripts/bench.py kmeans optim        these alone
    python scripts/bench.py --full              all sizes and turns
    python scripts/bench.py --dry               print, and record nothing

Records go to docs/performance/ITEM.json, and docs/performance.md is written from them. Peers come
with ``pip install -e .[bench]``; what is not installed is left out and said. The form of minutes
ends within ``BUDGET`` seconds of CPU time: an item is given its share of what is left, and keeps
the rows that it has by then.
"""

from __future__ import annotations

import argparse
import importlib
import json
import resource
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from types import FrameType

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts.benchmarks.frame import ROOT, Item, Row, Run  # noqa: E402  # first: one thread
from scripts.benchmarks.records import (  # noqa: E402
    FOLDER,
    before,
    mark,
    number,
    record,
    table,
)

HERE = ROOT / "scripts" / "benchmarks"
BUDGET, MOST = 540.0, 120.0  # of all items, and of one
LONG = 3600.0


class OutOfTime(BaseException):
    """An item used up its time; no ``except Exception`` of its own holds it."""


def items() -> list[str]:
    """Return the names of the modules that hold a benchmark."""
    return sorted(
        each.stem for each in HERE.glob("*.py") if "\nITEM = " in each.read_text(encoding="utf-8")
    )


def load(name: str) -> Item:
    """Import an item."""
    found = importlib.import_module(f"scripts.benchmarks.{name}").ITEM
    assert isinstance(found, Item)
    return found


def measure(name: str, quick: bool, limit: float, keep: bool) -> bool:
    """Run one item in this process; print its rows as they come, and its table.

    Returns:
        Whether it ended by itself or by the clock; the rows before a failure are kept.
    """
    start, run, rows, whole = time.monotonic(), Run(quick), list[Row](), True
    item = load(name)
    print(f"# {item.title}", flush=True)
    signal.signal(signal.SIGPROF, _stop)
    signal.setitimer(signal.ITIMER_PROF, limit)
    try:
        for row in item.rows(run):
            rows.append(row)
            print(f"  {row.name} | {row.peer}: {number(row.ratio or row.ours)}", flush=True)
    except OutOfTime:
        print(f"  stopped after {limit:.0f} s of CPU time; what is missing is not in the table")
    except Exception:
        traceback.print_exc()
        whole = False
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    mark(rows, before(name))
    found = record(item, run, rows, time.monotonic() - start)
    print("\n" + table(found["rows"]))
    for each in run.missing:
        print(f"{each}: not installed, left out (pip install -e .[bench])")
    if keep and rows:
        FOLDER.mkdir(exist_ok=True)
        text = json.dumps(found, indent=1, ensure_ascii=False)
        (FOLDER / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    print(flush=True)
    return whole


def _stop(number: int, frame: FrameType | None) -> None:
    raise OutOfTime


def share(left: float, items_left: int) -> float:
    """Return the CPU seconds that an item gets, at least 10."""
    return max(10.0, min(MOST, left / items_left))


def _children() -> float:
    """Return the CPU seconds of the items that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> int:
    """Run the items in turn; return 1 where one failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("items", nargs="*", metavar="ITEM", help=", ".join(items()))
    parser.add_argument("--full", action="store_true", help="all sizes and turns")
    parser.add_argument("--dry", action="store_true", help="record nothing")
    parser.add_argument("--one", type=float, metavar="SECONDS", help=argparse.SUPPRESS)
    given = parser.parse_args()
    unknown = set(given.items) - set(items())
    if unknown:
        parser.error(f"expected items of {', '.join(items())}; got {', '.join(sorted(unknown))}")
    if given.one:
        return int(not measure(given.items[0], not given.full, given.one, not given.dry))
    begun, failed = time.monotonic(), list[str]()
    names = given.items or items()
    for place, name in enumerate(names):
        left = LONG if given.full else share(BUDGET - _children(), len(names) - place)
        options = [*(["--full"] if given.full else []), *(["--dry"] if given.dry else [])]
        command = [sys.executable, __file__, name, "--one", str(left), *options]
        if subprocess.run(command, check=False, cwd=ROOT).returncode:
            failed.append(name)
            print(f"{name}: FAILED", flush=True)
    if not given.dry:
        subprocess.run([sys.executable, str(ROOT / "scripts" / "performance_page.py")], check=True)
    print(f"{time.monotonic() - begun:.0f} s", f"failed: {' '.join(failed)}" if failed else "")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
