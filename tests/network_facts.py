"""What is known of a made network, for the tests of its table and its page."""

from __future__ import annotations

from typing import Any


def layer(name: str, **changes: Any) -> dict[str, Any]:
    """Return what is known of a layer that stays whole."""
    known = {
        "name": name,
        "type": "Linear",
        "groups": [],
        "reads": [],
        "units": 0,
        "tied_to": [],
        "removable": False,
        "exact": False,
        "reason": "",
        "params": 308,
        "bytes": 1232,
        "macs_per_second": 456_000.0,
        "after": [""],
    }
    return {**known, **changes}


FACTS: dict[str, Any] = {
    "model": "Net",
    "params": 2000,
    "least_params": 500,
    "macs_per_second": 912_000.0,
    "source": "derived",
    "groups": [
        {
            "number": 1,
            "name": "inner",
            "units": 8,
            "exact": True,
            "written_by": ["inner"],
            "read_by": ["outer"],
        }
    ],
    "layers": [
        layer("inner", groups=[1], units=8, removable=True, exact=True),
        layer("outer", reads=[1], reason="its output leaves the model", after=["inner"]),
    ],
    "last": ["outer"],
}
