"""Every kind of file that a run reads back: how one is made, and how it is read.

``STORED`` names them. A reader returns plain values, tensors and arrays, or raises an error of
audioprune.errors; ``matters`` tells whether what was read of a damaged file is something else.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from audioprune import checkpoint, packing
from audioprune.compress.masks import Mask
from audioprune.compress.quantize.contract import quantize_with_
from audioprune.compress.quantize.kmeans import quantize_
from audioprune.compress.quantize.uniform import Uniform
from audioprune.data.coded.cache import SignalCache
from audioprune.data.files.checks import FileFacts, Finding
from audioprune.data.files.generated_folder import GeneratedFolder
from audioprune.data.files.index_file import IndexFile
from audioprune.data.scenes.features import FeatureStore, Normalisation, SceneFeatures
from audioprune.experiment.results import Results, ScoredItems, read_items
from audioprune.experiment.state_dicts import read_state_dict
from audioprune.files import append_lines, read_lines
from audioprune.metrics.score_cache import ScoreCache
from audioprune.records import read_csv, read_record, write_csv, write_record

ABSENT = "absent"
"""What a cache answers that has to make its content again."""


@dataclass(frozen=True)
class Stored:
    """One kind of file.

    Attributes:
        make: Writes one into a folder.
        read: Reads it.
        grows: Whether it is a log, of which a damaged line stands for what was not done.
    """

    make: Callable[[Path], Path]
    read: Callable[[Path], Any]
    grows: bool = False


def matters(found: Any, wanted: Any, grows: bool) -> bool:
    """Tell whether a reader gave something else than what was written."""
    if isinstance(found, str) and found == ABSENT:
        return False
    if grows:
        return any(not any(_holds(row, each) for each in wanted) for row in found)
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        return not _holds(found, wanted)
    return not _same(found, wanted)


def _holds(found: Any, wanted: Any) -> bool:
    """Tell whether a record says all of another, whatever else it says."""
    return all(key in found and _same(found[key], value) for key, value in wanted.items())


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        one, other = one.detach().numpy(), other.detach().numpy()
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        alike = one.dtype == other.dtype and one.shape == other.shape
        return alike and one.tobytes() == other.tobytes()
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return type(one) is type(other) and one == other


def _model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Linear(5, 3))


def _packed(folder: Path, grid: bool) -> Path:
    model = _model()
    mask = Mask({"0.weight": torch.rand(5, 6) < 0.5})
    mask.apply_(model)
    if grid:
        books: Any = quantize_with_(model, mask, {"0.weight": Uniform(), "2.weight": Uniform()})
    else:
        books = quantize_(model, mask, {"0.weight": 4})
    config = {"model": {"_target_": "x.Y", "width": 3}}
    return packing.pack(
        folder / "model.apz", model.state_dict(), mask=mask, codebooks=books, config=config
    ).path


def _unpacked(path: Path) -> Any:
    found = packing.unpack(path)
    masks = dict(found.mask.state_dict()) if found.mask else {}
    books = {name: asdict(book) for name, book in found.codebooks.items()}
    return [found.config, found.meta, found.state, masks, books]


def _dense(folder: Path) -> Path:
    facts = {"model_config": {"_target_": "x.Y"}, "seed": 3}
    return checkpoint.write(folder / "model.safetensors", dict(_model().state_dict()), facts)


def _state(folder: Path) -> Path:
    """A training's position: weights, optimiser, generators and facts."""
    model = _model()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    model(torch.ones(4, 6)).square().sum().backward()
    optimizer.step()
    tensors, facts = checkpoint.split_optimizer(optimizer)
    tensors |= {f"model/{name}": value for name, value in model.state_dict().items()}
    tensors["rng/cpu"] = torch.get_rng_state()[:64]
    position = {"epoch": 1, "best": 0.25, "history": [{"loss": 0.5}]}
    states = {"findings": {"iterations": 1}, "states": {"a": {"round": 2}}, "completed": ["a"]}
    return checkpoint.write(
        folder / "last.safetensors", tensors, {"optimizers": facts, "position": position, **states}
    )


def _read_newest(path: Path) -> Any:
    found = checkpoint.read_newest(path)
    return [] if found is None else list(found)


_ROWS = [
    {"key": "a", "kind": "score", "metrics": {"stoi": 0.731, "pesq": None}, "n": 12, "seed": 0},
    {"key": "b", "kind": "size", "bytes_file": 90321, "label": "FDNN é", "sparsity": 0.9},
    {"key": "c", "kind": "train", "best": 1.25e-3, "epochs": 4, "scale": "tiny; width 4"},
]


def _results(folder: Path) -> Path:
    Results(folder / "results.jsonl").put(*_ROWS)
    return folder / "results.jsonl"


def _record(folder: Path) -> Path:
    config = {"seed": 0, "model": {"width": 4, "name": "fdnn"}, "data": {"root": "/a b"}}
    facts = {"name": "x", "hash": "0f3a", "data_fingerprint": "ab12", "config": config}
    return write_record(folder / "run.json", facts | {"seconds": 12.5})


def _read_record(path: Path) -> Any:
    found = read_record(path)
    return found or [ABSENT]


def _items(folder: Path) -> Path:
    items = ScoredItems(folder, "step")
    items.add("step/test", {"id": ["p1", "=1+1", "p3"], "stoi": [0.5, None, 0.25], "hit": [1] * 3})
    items.write()
    return items.file


def _table(folder: Path) -> Path:
    rows = [(1, "a.weight", 0.25, 0.00125, True), (1, "b, c", 0.5, -0.5, False)]
    header = ("iteration", "tensor", "beta", "loss_increase", "chosen")
    return write_csv(folder / "sensitivity-1.csv", header, rows)


def _log(folder: Path) -> Path:
    curve = [[0.0, 0.0], [0.5, 0.0125]]
    rows = [{"path": "a/1/b"}, {"tensor": "w", "curve": curve}, {"name": "x", "n": {"a": 3}}]
    append_lines(folder / "log.jsonl", rows)
    return folder / "log.jsonl"


def _facts(folder: Path, name: str) -> FileFacts:
    finding = Finding(folder / name, "warning", "clipped", "0.1 % of the samples")
    hashes = ("0f" * 32, "a1" * 32)
    return FileFacts(folder / name, 900, *hashes, 16000, 1, 400, 0.25, "0123abcd", (finding,))


def _index(folder: Path) -> Path:
    index = IndexFile(folder / "index")
    index.write({name.encode(): ((900, 5), _facts(folder, name)) for name in ("a.wav", "b.wav")})
    return index.place


def _indexed(path: Path) -> Any:
    names = [path.parent / name for name in ("a.wav", "b.wav")]
    found = IndexFile.read(path).known({each: (each.name.encode(), (900, 5)) for each in names})
    return {str(name): each for name, each in found.items()} or ABSENT


def _features(folder: Path) -> tuple[FeatureStore, Path]:
    store = FeatureStore(SceneFeatures(mels=8, duration_s=0.3), str(folder), memory_bytes=0)
    return store, store._place("ab" * 32)


def _feature_file(folder: Path) -> Path:
    store, place = _features(folder)
    size = store.features.shape
    store._write(place, np.arange(np.prod(size), dtype=np.float32).reshape(size) / 7)
    return place


def _feature_values(path: Path) -> Any:
    found = _features(path.parents[3])[0]._read(path)
    return ABSENT if found is None else found


def _clips() -> Any:
    shape = SceneFeatures(mels=8, duration_s=0.3).shape
    return iter([np.arange(np.prod(shape), dtype=np.float32).reshape(shape)])


def _normalisation(folder: Path) -> Path:
    store, _ = _features(folder)
    store.normalisation("cd" * 16, _clips)
    return next(folder.rglob("normalisation-*.json"))


def _normalised(path: Path) -> Any:
    again = Normalisation(np.zeros(1, np.float32), np.zeros(1, np.float32))

    def measured() -> Any:
        raise LookupError

    try:
        again = _features(path.parents[2])[0].normalisation("cd" * 16, measured)
    except LookupError:
        return ABSENT
    return [again.mean, again.std]


def _scores(folder: Path) -> Path:
    scores = ScoreCache(folder)
    scores.put("ab" * 32, {"stoi": 0.731, "pesq_wb": 2.5})
    scores.put("cd" * 32, {"stoi": 0.25})
    scores.write()
    return folder / "scores.jsonl"


def _scored(path: Path) -> Any:
    scores = ScoreCache(path.parent)
    asked = [("ab" * 32, "stoi"), ("ab" * 32, "pesq_wb"), ("cd" * 32, "stoi")]
    found = {f"{pair} {tag}": scores.get(pair, tag) for pair, tag in asked}
    return [{"at": key, "score": value} for key, value in found.items() if value is not None]


def _signal(folder: Path) -> Path:
    made = np.sin(np.arange(300, dtype=np.float32))
    return SignalCache(folder, 8000).get("key", lambda: (made, 1234)).path


def _signal_again(path: Path) -> Any:
    found = SignalCache(path.parent, 8000)._find("key")
    if found is None:
        return ABSENT
    return [found.frames, found.sha256, found.peak, found.level, found.payload_bytes]


def _corpus(folder: Path, ending: str) -> Path:
    own = GeneratedFolder.at(folder / "made", "tones", {"seed": 0}, str(folder / "cache"))
    own.make({f"a/0{ending}": lambda: np.sin(np.arange(400) / 9)}, 8000, 1000, {"b.txt": "x 1\n"})
    return own.root


def _intact(path: Path, root: Path) -> Any:
    del path
    _later(root)
    folder = GeneratedFolder.at(root, "tones", {"seed": 0}, str(root.parent / "cache"))
    return ["intact"] if folder.is_intact() else ABSENT


_TICKS = iter(range(1, 1 << 40))


def _later(root: Path) -> None:
    """Give every file a time that no index knows: writes in a row may share one."""
    for path in root.rglob("*"):
        if path.is_file():
            os.utime(path, ns=(next(_TICKS) * 1_000_000, next(_TICKS) * 1_000_000))


def _of_corpus(name: str, ending: str = ".wav") -> Stored:
    return Stored(
        lambda folder: _corpus(folder, ending) / name,
        lambda path: _intact(path, next(each for each in path.parents if each.name == "made")),
    )


def _torch_file(folder: Path) -> Path:
    torch.save({"model": dict(_model().state_dict()), "epoch": 3}, folder / "w.pt")
    return folder / "w.pt"


STORED: dict[str, Stored] = {
    "packed model": Stored(lambda folder: _packed(folder, False), _unpacked),
    "packed model with grids": Stored(lambda folder: _packed(folder, True), _unpacked),
    "dense model": Stored(_dense, lambda path: list(checkpoint.read(path))),
    "training and step state": Stored(_state, _read_newest),
    "results": Stored(_results, lambda path: list(Results(path).rows.values())),
    "record of a run": Stored(_record, _read_record),
    "scores of items": Stored(_items, lambda path: read_items(path.parent) or ABSENT),
    "table of a step": Stored(_table, lambda path: read_csv(path) or ABSENT),
    "log of a step": Stored(_log, read_lines, grows=True),
    "index of files": Stored(_index, _indexed),
    "features": Stored(_feature_file, _feature_values),
    "normalisation": Stored(_normalisation, _normalised),
    "score cache": Stored(_scores, _scored, grows=True),
    "coded signal": Stored(_signal, _signal_again),
    "generated WAV": _of_corpus("a/0.wav"),
    "generated FLAC": _of_corpus("a/0.flac", ".flac"),
    "generated text": _of_corpus("b.txt"),
    "marker of a generated corpus": _of_corpus("tones.json"),
    "weights that torch saved": Stored(_torch_file, lambda path: read_state_dict(path)[0]),
}
"""The kinds by name."""


def outcome(stored: Stored, path: Path, data: bytes, wanted: Any) -> str:
    """Return ``found``, ``harmless`` or ``silent`` of a file with this content."""
    from audioprune.errors import AudiopruneError

    path.write_bytes(data)
    try:
        read = stored.read(path)
    except AudiopruneError:
        return "found"
    if isinstance(read, str) and read == ABSENT:
        return "found"
    if matters(read, wanted, stored.grows):
        return "silent"
    return "found" if stored.grows and len(read) < len(wanted) else "harmless"
