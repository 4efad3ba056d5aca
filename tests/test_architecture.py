"""Who may import whom: the rooms of the package and the only edges between them."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Mapping, Set
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "audioprune"

# A room may import the rooms of its set and itself; nothing else of the package.
BASE = {"errors", "files", "progress", "interrupts", "launch", "paths", "ranges", "terminal"}
BASE |= {"plain", "records"}
# Kernels are compiled where they are.
KERNELS = BASE | {"compiled"}
ALLOWED = {
    "errors": set(),
    "compiled": set(),
    "files": {"errors", "plain"},
    "records": {"errors", "files", "plain"},
    "plain": set(),
    "progress": {"terminal"},
    "terminal": {"errors", "plain", "ranges"},
    "interrupts": {"errors", "launch", "progress"},
    "launch": {"errors"},
    "paths": set(),
    "torchaudio_loader": set(),
    "ranges": set(),
    "schema": {"errors", "metrics", "ranges"},
    "model_header": {"errors", "paths", "plain", "records"},
    "provenance": {"errors", "model_header", "schema"},
    "checkpoint": BASE,
    "dsp": BASE,
    "compress": KERNELS,
    "protocols": {"errors", "compress", "metrics"},
    "metrics": KERNELS | {"dsp"},
    "models": KERNELS | {"protocols", "dsp", "compress"},
    "data": BASE | {"protocols", "dsp"},
    "optim": KERNELS | {"compress"},
    "packing": BASE | {"compress", "model_header"},
    "training": BASE | {"protocols", "compress", "optim", "checkpoint"},
    "tasks": BASE | {"protocols", "dsp", "compress", "metrics", "models", "training"},
    "distiller": BASE | {"compress", "checkpoint"},
    "experiment": BASE
    | {"checkpoint", "compress", "metrics", "packing", "protocols", "provenance"}
    | {"schema", "torchaudio_loader", "training"},
    "steps": BASE
    | {"checkpoint", "compress", "distiller", "experiment", "metrics", "optim", "protocols"}
    | {"training"},
    "report": BASE | {"experiment", "listening"},
    "export": BASE | {"compress", "dsp", "experiment", "protocols", "provenance", "tasks"},
    "listening": BASE | {"data", "dsp", "experiment", "metrics", "protocols", "provenance"},
    "inference": BASE
    | {"compress", "data", "dsp", "experiment", "model_header", "protocols", "provenance"}
    | {"tasks"},
    "library": BASE
    | {"checkpoint", "compress", "experiment", "inference", "model_header", "packing"}
    | {"protocols", "provenance", "tasks"},
    "commands": BASE
    | {"data", "dsp", "experiment", "export", "inference", "listening", "protocols", "provenance"}
    | {"report"}
    | {"metrics", "schema", "steps", "torchaudio_loader", "training"},
    "cli": BASE | {"commands", "schema"},
}
# The same within the compression library: a module or folder and those that it may import.
COMPRESS = {
    "eval_mode": set(),
    "placement": set(),
    "schedule": set(),
    "ties": set(),
    "weight_norm": set(),
    "masks": {"ties"},
    "select": {"masks"},
    "quantize": {"eval_mode", "ties", "units"},
    "units": {"eval_mode", "placement", "masks", "ties", "weight_norm"},
    "penalties": {"masks", "units"},
    "weight_summary": {"masks", "units"},
    "criteria": {"eval_mode", "placement", "masks", "units"},
    "search": {"criteria", "eval_mode", "placement", "masks", "select", "ties", "units"},
    "lottery": {"criteria", "masks", "select", "units"},
}
# Models declare their units; they see nothing else of the compression library.
MODELS_SEE = {f"audioprune.compress.units.{name}" for name in ("declare", "builders", "chains")}
# Help, completion and reports start at once: these modules load neither torch nor what needs it.
LIGHT_ROOMS = {
    "cli",
    "schema",
    "report",
    "files",
    "plain",
    "records",
    "errors",
    "progress",
    "interrupts",
    "launch",
    "paths",
    "model_header",
    "provenance",
    "ranges",
    "terminal",
    "torchaudio_loader",
}
LIGHT_MODULES = {
    "commands.__init__",
    "commands.configuration",
    "commands.experiments",
    "commands.jobs",
    "commands.messages",
    "commands.own_model",
    "commands.quoting",
    "commands.report",
    "commands.sweeps.__init__",
    "commands.sweeps.objective",
    "commands.sweeps.tuning",
    "commands.sweeps.watch",
    "experiment.config_hash",
    "experiment.presets",
    "experiment.results",
    "experiment.rows",
}
HYDRA = {"cli", "commands", "experiment", "schema"}
# The rooms within data: files know nothing of splits, splits nothing of families of corpora, and
# families nothing of one another, but that coded speech builds on clean speech.
DATA_ALLOWED = {
    "files": set(),
    "splits": {"files"},
    "corpus": {"files"},
    "nothing": set(),
    "speech": {"files", "splits", "corpus"},
    "notes": {"files", "splits", "corpus"},
    "scenes": {"files", "splits", "corpus"},
    "audio": {"files", "splits", "corpus"},
    "coded": {"files", "splits", "corpus", "speech"},
    "made": {"coded", "notes", "scenes", "speech"},
}


def _files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def _module(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def _room(path: Path) -> str:
    return _module(path).split(".")[0]


_IMPORT = re.compile(r"^ *((?:from \S+ )?import (?:\([^)]*\)|[^\n(]+))", re.MULTILINE)
_TEXT = re.compile(r'"""[\s\S]*?"""')


@cache
def _statements(path: Path) -> list[ast.stmt]:
    """Return the imports of a file, those inside functions too; the rest of it is not parsed."""
    code = _TEXT.sub("", path.read_text(encoding="utf-8"))
    return ast.parse("\n".join(_IMPORT.findall(code))).body


@cache
def _imports(path: Path) -> frozenset[str]:
    found: set[str] = set()
    for node in _statements(path):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module or "")
            if node.module in ("audioprune", "audioprune.compress"):
                found |= {f"{node.module}.{name.name}" for name in node.names}
    return frozenset(found)


def test_only_allowed_rooms_are_imported() -> None:
    assert [told for path in _files() for told in _forbidden(path)] == []


def _forbidden(path: Path) -> list[str]:
    """Return a line for each import of a file that its room may not do."""
    room = _room(path)
    if room == "__init__":
        return []
    if room not in ALLOWED:
        return [f"{room}: a new room; say in ALLOWED what it may import"]
    found = []
    for module in _imports(path):
        parts = module.split(".")
        if parts[0] != "audioprune" or len(parts) == 1 or parts[1].startswith("__"):
            continue
        own = parts[1] == room or parts[1] in ALLOWED[room]
        seen = (
            room != "models" or parts[1] != "compress" or len(parts) == 2 or module in MODELS_SEE
        )
        if not own or not seen:
            found.append(f"{path.relative_to(PACKAGE)} imports {module}")
    return found


@pytest.mark.parametrize("rooms", [ALLOWED, COMPRESS], ids=["package", "compress"])
def test_rooms_form_no_cycle(rooms: dict[str, set[str]]) -> None:
    _refuse_circle(rooms)


def _refuse_circle(seen: Mapping[str, Set[str]]) -> None:
    """Take away, again and again, what sees nothing of what is left but itself."""
    left = dict(seen)
    while left:
        free = [name for name, others in left.items() if not (others & set(left)) - {name}]
        assert free, f"circle among {sorted(left)}"
        for name in free:
            del left[name]


@pytest.mark.parametrize("room", DATA_ALLOWED)
def test_rooms_of_data_import_in_one_direction(room: str) -> None:
    place = PACKAGE / "data" / room
    for path in sorted(place.rglob("*.py")) or [place.with_suffix(".py")]:
        for module in _imports(path):
            if module.startswith("audioprune.data."):
                seen = module.split(".")[2]
                assert seen == room or seen in DATA_ALLOWED[room], f"{path} imports {module}"


def test_only_allowed_rooms_of_the_compression_library_are_imported() -> None:
    for path in _files():
        parts = _module(path).split(".")
        if parts[0] != "compress" or parts[1] == "__init__":
            continue
        assert parts[1] in COMPRESS, f"compress.{parts[1]}: say in COMPRESS what it may import"
        for module in _imports(path):
            names = module.split(".")
            if names[:2] == ["audioprune", "compress"] and len(names) > 2:
                allowed = COMPRESS[parts[1]] | {parts[1]}
                assert names[2] in allowed, f"{_module(path)} imports {module}"


def test_parts_of_models_import_no_model() -> None:
    for path in sorted(PACKAGE.glob("models/parts/*.py")):
        for module in _imports(path):
            if module.startswith("audioprune.models"):
                assert module.startswith("audioprune.models.parts"), f"{path.name}: {module}"


def test_only_named_rooms_know_hydra() -> None:
    for path in _files():
        if _room(path) not in HYDRA:
            assert not {
                name for name in _imports(path) if name.split(".")[0] in ("hydra", "omegaconf")
            }, path


def test_report_and_command_line_do_not_import_torch() -> None:
    for path in _files():
        if _room(path) in LIGHT_ROOMS or _module(path) in LIGHT_MODULES:
            assert not {
                name
                for name in _imports(path)
                if name.split(".")[0] in ("torch", "accelerate", "numba")
            }, path


def test_modules_stay_readable() -> None:
    for path in _files():
        lines = path.read_text(encoding="utf-8").splitlines()
        assert len(lines) <= 460, f"{path}: {len(lines)} lines; split it"
        if path.name != "__init__.py" or lines:
            assert lines[0].startswith(('"""', 'r"""')), f"{path}: no module docstring"


def _folders(root: Path) -> list[Path]:
    return sorted({path.parent for path in root.rglob("*.py")})


def test_no_folder_is_a_hall() -> None:
    for folder in _folders(PACKAGE):
        modules = [path.name for path in folder.glob("*.py") if path.name != "__init__.py"]
        assert len(modules) <= 15, f"{folder}: {len(modules)} modules; divide it by question"


def test_tests_have_the_folders_of_the_package() -> None:
    tests = PACKAGE.parent / "tests"
    for folder in _folders(tests):
        if folder.name in ("faults", "fuzz"):
            continue  # these belong to no room: they run the whole program
        assert (PACKAGE / folder.relative_to(tests)).is_dir(), folder


def test_every_folder_is_installed() -> None:
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))
    found = {".".join(("audioprune", *f.relative_to(PACKAGE).parts)) for f in _folders(PACKAGE)}
    assert set(project["tool"]["setuptools"]["packages"]) == found | {"audioprune.conf"}


def _imported_modules(path: Path, known: set[str]) -> set[str]:
    """Return the modules of the package that a module imports, for a type checker too."""
    found: set[str] = set()
    for node in _statements(path):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("audioprune."):
            room = str(node.module).removeprefix("audioprune.")
            names = {f"{room}.{each.name}" for each in node.names}
            found |= {name if name in known else room for name in names}
    return found


def test_modules_form_no_circle() -> None:
    paths = {_module(path).removesuffix(".__init__"): path for path in _files()}
    _refuse_circle({name: _imported_modules(path, set(paths)) for name, path in paths.items()})
