"""Files made to hurt: nothing in them is run, nothing leaves its folder, none fills the memory."""

from __future__ import annotations

import io
import json
import os
import pickle
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from faults.record import record
from packed_files import build, parts, reseal

from audioprune import checkpoint, cli, packing
from audioprune.data.files.audio import read_audio
from audioprune.data.files.lists import Places
from audioprune.data.scenes.table import list_table
from audioprune.distiller.schedule_file import load_schedule
from audioprune.errors import AudiopruneError, CheckpointError, ConfigError, DataError
from audioprune.experiment.model_io import load_model_file
from audioprune.experiment.state_dicts import read_state_dict
from audioprune.model_header import read_facts
from audioprune.plain import yaml_text
from audioprune.records import read_record, rows_and_damage
from audioprune.report.runs.job import read_job

CANARY = "canary"
FDNN = {"_target_": "audioprune.models.fdnn.FDNN", "bins": 9, "width": 4, "depth": 2}


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Work in a folder where a canary would appear, and let no socket be opened."""

    def refused(*_: Any, **__: Any) -> None:
        raise AssertionError("a connection was asked for")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)
    yield
    assert not list(tmp_path.rglob(CANARY)) and not (tmp_path.parent / CANARY).exists()


class _Runs:
    def __reduce__(self) -> Any:
        return os.system, (f"touch {CANARY}",)


def _model_file(path: Path, config: dict[str, Any]) -> Path:
    packing.pack(path, {"w": torch.ones(3)}, config=config)
    return path


def _torch_saved(path: Path) -> Path:
    torch.save({"model": {"w": torch.ones(2)}, "x": _Runs()}, path)
    return path


def _pickled(path: Path) -> Path:
    path.write_bytes(pickle.dumps(_Runs(), protocol=2))
    return path


def _old_torch(path: Path) -> Path:
    torch.save({"x": _Runs()}, path, _use_new_zipfile_serialization=False)
    return path


def _numpy(path: Path) -> Path:
    with open(path, "wb") as stream:
        np.save(stream, np.array([_Runs()], dtype=object))
    return path


def _whole_model(path: Path) -> Path:
    torch.save(torch.nn.Linear(2, 2), path)
    return path


def _slip(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"../{CANARY}", "x")
        archive.writestr("archive/data.pkl", pickle.dumps(_Runs(), protocol=2))
    return path


CODE: dict[str, Callable[[Path], Path]] = {
    "torch.save": _torch_saved,
    "pickle": _pickled,
    "torch.save of old": _old_torch,
    "numpy": _numpy,
    "whole model": _whole_model,
    "zip with ../": _slip,
}


@pytest.mark.faults("C17")
@pytest.mark.parametrize("kind", CODE)
def test_code_in_a_file_of_weights_is_not_run(kind: str, tmp_path: Path) -> None:
    path = CODE[kind](tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match="not loaded|torch.save"):
        read_state_dict(path)
    with pytest.raises(CheckpointError):
        load_model_file(path, FDNN)
    record("C17", f"{kind}: refused, nothing run")


TARGETS: dict[str, Any] = {
    "a command": {"_target_": "os.system", "command": f"touch {CANARY}"},
    "another module": {"_target_": "subprocess.getoutput", "cmd": f"touch {CANARY}"},
    "a function of this package": {"_target_": "audioprune.files.write_atomic", "path": CANARY},
    "a name within a module": {"_target_": "audioprune.models.fdnn.torch.load", "f": CANARY},
    "an inner target": {**FDNN, "width": {"_target_": "os.system", "command": f"touch {CANARY}"}},
    "an interpolation": {**FDNN, "width": "${oc.env:HOME}"},
    "positional arguments": {**FDNN, "_args_": [f"touch {CANARY}"]},
    "no text": {"_target_": ["os.system"]},
    "a list": [1],
}


@pytest.mark.faults("C17")
@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("part", ["model", "task"])
def test_a_file_names_no_code(kind: str, part: str, tmp_path: Path) -> None:
    config = {"model": FDNN, part: TARGETS[kind]}
    with pytest.raises(CheckpointError):
        load_model_file(_model_file(tmp_path / "m.apz", config))
    tensors = {"model/w": torch.ones(3)}
    facts = {"model_config": FDNN, f"{part}{'_config' * (part == 'model')}": TARGETS[kind]}
    with pytest.raises(CheckpointError):
        load_model_file(checkpoint.write(tmp_path / "m.safetensors", tensors, facts))


@pytest.mark.faults("C17")
@pytest.mark.parametrize("key", ["model", "task", "data"])
def test_verbs_run_nothing_that_a_file_names(
    key: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {"model": FDNN, "task": None, "data": None, key: TARGETS["a command"]}
    path = _model_file(tmp_path / "m.apz", config)
    soundfile.write(tmp_path / "a.wav", np.zeros(800), 16000)
    more = {"apply": ["in=a.wav"], "generate": ["pitch=60"]}
    for verb in ("info", "apply", "generate"):
        code = cli.run_verb(verb, [f"checkpoint={path}", *more.get(verb, [])])
        told = capfd.readouterr().err
        assert code in (2, 3, 4), (verb, told)
        assert told.splitlines()[-1].startswith("error: ") and "Traceback" not in told
    record("C17", f"a file whose {key} is a command: info, apply and generate refuse it")


YAML = {
    "a python object": "!!python/object/apply:os.system ['touch canary']",
    "a bomb": "a: &a [x,x,x,x,x,x,x,x,x]\n"
    + "".join(f"{b}: &{b} [{','.join(['*' + a] * 9)}]\n" for a, b in pairwise("abcdefghi")),
    "itself": "a: &a [*a]",
    "deep": "a: " + "[" * 5000,
    "deep lists": "a:\n  " + "- " * 5000,
    "deep blocks": "".join(" " * n + "a:\n" for n in range(300)),
    "long": "a: b\n" * 50_000,
    "merged": "a: &a {x: 1}\nb: {<<: [*a, 3]}",
    "a set": "a: !!set {[1]: 2}",
    "a date": "a: 2001-99-99",
}


@pytest.mark.faults("C17")
@pytest.mark.parametrize("kind", YAML)
def test_yaml_is_plain_and_bounded(kind: str, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(YAML[kind])
    start = time.process_time()
    with pytest.raises(ConfigError):
        load_schedule(tmp_path / "s.yaml")
    assert time.process_time() - start < 1


def test_plain_yaml_is_read_as_it_is() -> None:
    assert yaml_text.parse("a: &x [1, 2]\nb: *x\n") == {"a": [1, 2], "b": [1, 2]}
    assert yaml_text.parse("") is None


DEEP = "[" * 100_000 + "]" * 100_000


@pytest.mark.faults("C19")
def test_deep_and_endless_json_is_refused(tmp_path: Path) -> None:
    for text in (DEEP, '{"a":' * 70 + "1" + "}" * 70, '{"config": ' + "9" * 9000 + "}"):
        (tmp_path / "run.json").write_text(text)
        (tmp_path / "results.jsonl").write_text(text)
        with pytest.raises(CheckpointError):
            read_record(tmp_path / "run.json")
        assert rows_and_damage(tmp_path / "results.jsonl")[1]
        assert "run.json is damaged" in read_job(tmp_path).reason


@pytest.mark.faults("C16")
@pytest.mark.parametrize("name", ["../secret.wav", "a/../../secret.wav", "..\\secret.wav"])
def test_a_list_names_nothing_outside_its_corpus(name: str, tmp_path: Path) -> None:
    root = tmp_path / "corpus"
    (root / "a").mkdir(parents=True)
    for place in (root / "a" / "x.wav", root / "y.wav", tmp_path / "secret.wav"):
        soundfile.write(place, np.zeros(99), 8000)
    for given in (name, str(tmp_path / "secret.wav")):
        assert Places([root]).find(given) is None
        (root / "t.csv").write_text(f"filename,label\n{given},x\na/x.wav,y\n")
        with pytest.raises(DataError, match="class y"):
            list_table(root, root / "t.csv")
    inside = Places([root])
    assert inside.find("a/../y.wav") == inside.find("y.wav") == root / "y.wav"
    assert inside.find(str(root / "a" / "x.wav")) == root / "a" / "x.wav"


# Each of these is read in a process of its own, which may use 200 MB beyond what it has loaded.
def _packed(header: Any, tmp_path: Path) -> bytes:
    packing.pack(tmp_path / "m.apz", {"w": torch.ones(30, 20)}, config={"model": FDNN})
    found, rest = parts((tmp_path / "m.apz").read_bytes())
    if callable(header):
        header(found)
        return build(found, rest)
    return build(header, rest)


def _shape(*lengths: int) -> Callable[[Any], None]:
    return lambda head: head["tensors"][0].__setitem__(1, list(lengths))


def _dense(header: bytes, length: int | None = None, body: bytes = b"") -> bytes:
    return (len(header) if length is None else length).to_bytes(8, "little") + header + body


def _tensor(shape: list[int], end: int) -> bytes:
    return json.dumps({"a": {"dtype": "F32", "shape": shape, "data_offsets": [0, end]}}).encode()


def _zip_bomb() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(3):
            archive.writestr(f"archive/data/{number}", bytes(100 << 20))
        archive.writestr("archive/data.pkl", b"\x80\x02}.")
    return stream.getvalue()


def _flac(frames: int) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, np.zeros(1000), 16000, format="FLAC")
    data = bytearray(stream.getvalue())
    data[21:26] = (int.from_bytes(data[21:22]) & 0xF0).to_bytes(1) + frames.to_bytes(4)
    return bytes(data)


BOMBS: dict[str, tuple[str, Callable[[Path], bytes]]] = {
    "packed, 2^47 elements": (".apz", lambda p: _packed(_shape(1 << 47), p)),
    "packed, an overflowing product": (".apz", lambda p: _packed(_shape(*[1 << 40] * 3), p)),
    "packed, 30 million elements in no bytes": (".apz", lambda p: _packed(_shape(30 << 20), p)),
    "packed, a header of 64 MB of zeros": (".apz", lambda p: _packed(bytes(64 << 20), p)),
    "packed, a deep header": (".apz", lambda p: _packed(b"[" * 1_000_000, p)),
    "packed, a length of 2^32": (".apz", lambda p: reseal(b"\x89APZ\1\0" + b"\xff" * 4)),
    "packed, a model of 30 GB": (
        ".apz",
        lambda p: _packed(
            lambda head: head["config"].update(model={**FDNN, "width": 16384, "depth": 32}), p
        ),
    ),
    "dense, a header of 2^62": (".safetensors", lambda _: _dense(b"{}", 1 << 62)),
    "dense, a header of 90 MB": (".safetensors", lambda _: _dense(b" " * (90 << 20))),
    "dense, an overflowing shape": (".safetensors", lambda _: _dense(_tensor([1 << 62, 8], 4))),
    "dense, a hole": (".safetensors", lambda _: _dense(_tensor([1], 4), body=bytes(99))),
    "dense, a deep header": (".safetensors", lambda _: _dense(b"[" * 1_000_000)),
    "torch, 300 MB in 300 kB": (".pt", lambda _: _zip_bomb()),
    "FLAC of 2^32 samples": (".flac", lambda _: _flac((1 << 32) - 1)),
}
_READS = """
import resource, sys, time
from audioprune.data.files.checks import inspect_file
from audioprune.errors import AudiopruneError
from audioprune.experiment.model_io import load_model_file
from audioprune.model_header import read_facts
from itertools import pairwise
from pathlib import Path

def read(path):
    if path.suffix == ".flac":
        (fault, *_) = inspect_file(path).errors
        return fault.reason
    read_facts(path)
    try:
        load_model_file(path, {model!r})
    except AudiopruneError as error:
        return str(error)

read(Path(sys.argv[1]))  # whatever is loaded once
pages = int(Path("/proc/self/statm").read_text().split()[0])
most = pages * resource.getpagesize() + (200 << 20)
resource.setrlimit(resource.RLIMIT_AS, (most, most))
for path in map(Path, sys.argv[2:]):
    start = time.process_time()
    told = read(path)
    assert told, f"{{path}} was read"
    seconds = time.process_time() - start
    print(f"{{path.name}}\\t{{seconds:.3f}}\\t{{told}}")
"""


@pytest.mark.slow
@pytest.mark.faults("C19")
def test_bombs_are_refused_in_a_second_within_200_mb(tmp_path: Path) -> None:
    first = _model_file(tmp_path / "first.apz", {"model": FDNN})
    paths = []
    for number, (ending, make) in enumerate(BOMBS.values()):
        paths.append(tmp_path / f"{number}{ending}")
        paths[-1].write_bytes(make(tmp_path))
    program = _READS.format(model=FDNN)
    command = [sys.executable, "-c", program, str(first), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert len(lines) == len(BOMBS)
    for name, (_, seconds, told) in zip(BOMBS, lines, strict=True):
        assert float(seconds) < 1, f"{name}: {seconds} s of CPU time"
        record("C19", f"{name}: refused ({told.partition(': ')[2][:60]})")


def test_a_flac_that_claims_too_much_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.flac").write_bytes(_flac((1 << 32) - 1))
    with pytest.raises(DataError, match="a.flac.*4294967295 samples"):
        read_audio(tmp_path / "a.flac")


@pytest.mark.faults("C17", "C19")
def test_headers_that_lie_tell_nothing(tmp_path: Path) -> None:
    for data in (b"", b"junk", _dense(b"{}", 1 << 62), _packed(b"[" * 1000, tmp_path)):
        for name in ("a.apz", "a.safetensors"):
            (tmp_path / name).write_bytes(data)
            assert read_facts(tmp_path / name) == {}


FOUND = Path(__file__).parent / "found"


@pytest.mark.parametrize("name", sorted(path.name for path in FOUND.iterdir()))
def test_what_fuzzing_found_stays_mended(name: str, tmp_path: Path) -> None:
    """Each file is ``READER~what went wrong``; the readers are those of scripts/fuzzing."""
    from scripts.fuzzing.readers import READERS

    reader = READERS[name.partition("~")[0]]
    place = tmp_path / f"input{reader.ending}"
    place.write_bytes((FOUND / name).read_bytes())
    try:
        reader.read(place)
    except AudiopruneError as error:
        assert "\n" not in str(error)
