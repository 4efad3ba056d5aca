"""``import audioprune`` is light, typed by what it imports lazily, and hides no function."""

from __future__ import annotations

import subprocess
import sys

import audioprune


def test_the_import_loads_nothing_heavy() -> None:
    code = (
        "import sys, time\nbegin = time.process_time()\nimport audioprune\n"
        "spent = time.process_time() - begin\n"
        "names = dir(audioprune)\n"
        "print([name for name in ('torch', 'numpy', 'hydra', 'scipy') if name in sys.modules])\n"
        "print('load' in names, spent < 0.05, spent)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.stdout.splitlines()[0] == "[]", found.stderr
    assert found.stdout.splitlines()[1].startswith("True True"), found.stdout


def test_every_name_is_there_and_documented() -> None:
    assert set(audioprune.__all__) == set(audioprune._PUBLIC)
    for name in audioprune.__all__:
        found = getattr(audioprune, name)
        assert callable(found) and found.__doc__ and found.__name__ == name
    try:
        _ = audioprune.lode  # type: ignore[attr-defined]
    except AttributeError as error:
        assert "no attribute 'lode'" in str(error)


def test_a_room_does_not_hide_a_function() -> None:
    room = type(sys)("audioprune.cost")
    audioprune.cost = room  # type: ignore[assignment]
    assert callable(audioprune.cost) and audioprune.cost is not room
