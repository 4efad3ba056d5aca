"""Who may import whom: the rooms of the package and the only edges between them."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "audioprune"

# A room may import the rooms of its set and itself; nothing else of the package.
BASE = {"errors", "files", "progress", "signals", "places"}
ALLOWED = {
    "errors": set(),
    "files": {"errors"},
    "progress": set(),
    "signals": {"errors"},
    "places": set(),
    "stored": {"errors", "places", "schema"},
    "identity": BASE,
    "devices": {"errors"},
    "divergence": set(),
    "results": BASE,
    "step_state": BASE,
    "model_names": set(),
    "schema": {"errors"},
    "dsp": BASE,
    "compress": BASE,
    "metrics": BASE | {"dsp"},
    "models": BASE | {"dsp", "compress"},
    "data": BASE | {"dsp"},
    "optim": BASE | {"compress"},
    "tasks": BASE | {"dsp", "compress", "metrics", "models", "settings"},
    "checkpoint": BASE,
    "agreement": BASE | {"metrics", "stored"},
    "presets": set(),
    "settings": BASE,
    "packing": BASE | {"compress", "stored"},
    "cost": BASE | {"compress"},
    "platforms": BASE,
    "hooks": BASE | {"compress", "checkpoint"},
    "training": BASE | {"compress", "optim", "checkpoint", "devices", "divergence", "hooks", "settings"},
    "distiller": BASE | {"compress", "checkpoint"},
    "loading": BASE | {"checkpoint", "compress", "packing", "state_dicts", "stored"},
    "listening": BASE | {"data", "dsp", "loading", "metrics", "results", "stored"},
    "run": BASE
    | {"agreement", "checkpoint", "compress", "devices", "identity", "loading"}
    | {"model_names", "presets", "results", "run_folder", "settings", "step_state"}
    | {"stored", "trial"},
    "run_folder": BASE | {"identity"},
    "scoring": BASE | {"checkpoint", "compress", "cost", "loading", "packing", "run"},
    "state_dicts": BASE,
    "trial": BASE,
    "steps": BASE
    | {"results", "checkpoint", "compress", "distiller", "optim"}
    | {"devices", "metrics", "settings", "training", "loading", "run", "scoring", "step_state"},
    "report": BASE | {"results", "platforms"},
    "generation": BASE | {"agreement", "data", "loading", "stored"},
    "tools": BASE | {"agreement", "cost", "data", "devices", "generation", "listening", "loading", "report", "stored"},
    "verbs": BASE | {"identity", "report", "run"},
    "cli": BASE | {"conf", "identity", "presets", "schema", "stored", "tools", "verbs"},
}
# Models declare their units; they see nothing else of the compression library.
MODELS_SEE = {"audioprune.compress.units.declare", "audioprune.compress.units.builders"}
# Help, completion and reports start at once.
LIGHT = (
    *("cli", "schema", "identity", "presets", "report", "results", "platforms"),
    *("files", "errors", "progress", "signals", "places", "stored"),
)
HYDRA = {"cli", "loading", "run", "schema", "tools"}


def _files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def _room(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def _imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module or "")
            if node.module in ("audioprune", "audioprune.compress"):
                found |= {f"{node.module}.{name.name}" for name in node.names}
    return found


@pytest.mark.parametrize("path", _files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_allowed_rooms_are_imported(path: Path) -> None:
    room = _room(path)
    if room == "__init__":
        return
    assert room in ALLOWED, f"{room}: a new room; say in ALLOWED what it may import"
    for module in _imports(path):
        parts = module.split(".")
        if parts[0] != "audioprune" or len(parts) == 1 or parts[1].startswith("__"):
            continue
        assert parts[1] == room or parts[1] in ALLOWED[room], f"{path.name} imports {module}"
        if room == "models" and parts[1] == "compress" and len(parts) > 2:
            assert module in MODELS_SEE, f"{path.name} imports {module}"


def test_rooms_form_no_cycle() -> None:
    done: set[str] = set()
    left = dict(ALLOWED)
    while left:
        free = [room for room, seen in left.items() if not (seen & set(left)) - {room}]
        assert free, f"cycle among {sorted(left)}"
        for room in free:
            done.add(room)
            del left[room]


def test_only_named_rooms_know_hydra() -> None:
    for path in _files():
        if _room(path) not in HYDRA:
            assert not {name for name in _imports(path) if name.split(".")[0] in ("hydra", "omegaconf")}, path


def test_report_and_command_line_do_not_import_torch() -> None:
    for path in _files():
        if _room(path) in LIGHT:
            assert not {name for name in _imports(path) if name.split(".")[0] in ("torch", "accelerate", "numba")}, path


def test_modules_stay_readable() -> None:
    for path in _files():
        lines = path.read_text(encoding="utf-8").splitlines()
        assert len(lines) <= 460, f"{path}: {len(lines)} lines; split it"
        if path.name != "__init__.py" or lines:
            assert ast.get_docstring(ast.parse("\n".join(lines))), f"{path}: no module docstring"
