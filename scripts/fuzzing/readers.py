"""What is fuzzed: for each kind of file its reader, the files it begins with, and how one becomes
another that still passes its checksums.

``READERS`` names the kinds. A reader takes the input as a file in an empty folder and may raise
errors of audioprune.errors alone.
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import random
import zipfile
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from audioprune import checkpoint, model_header, packing
from audioprune.compress.masks import Mask
from audioprune.compress.quantize.kmeans import quantize_
from audioprune.data.files import audio, checks, headers, index_file, lists
from audioprune.data.notes import nsynth
from audioprune.data.scenes import reading as scene_reading
from audioprune.data.scenes import table as scene_table
from audioprune.data.scenes import tut_lists
from audioprune.data.splits import speakers, split_list
from audioprune.distiller.schedule_file import load_schedule
from audioprune.errors import AudiopruneError
from audioprune.experiment import results, run_folder
from audioprune.experiment.model_io import build_model, load_model_file
from audioprune.experiment.state_dicts import read_state_dict
from audioprune.files import read_lines
from audioprune.listening.ratings import read_ratings
from audioprune.metrics.score_cache import ScoreCache
from audioprune.report.runs.entries import entries
from audioprune.report.runs.job import load_jobs
from scripts.fuzzing.changes import changed, changed_json

Change = Callable[[bytes, random.Random, Sequence[bytes]], bytes]
_MODEL = {
    "_target_": "audioprune.models.fdnn.FDNN",
    "name": "fdnn",
    "bins": 9,
    "width": 4,
    "depth": 2,
}
_TASK = {"_target_": "audioprune.tasks.enhancement.MaskEnhancement", "sample_rate": 16000}
_SPLIT = b"\n--fuzz--\n"


@dataclass(frozen=True)
class Reader:
    """One kind of file.

    Attributes:
        name: The kind.
        ending: Ending of its name.
        read: Reads the file at a path.
        seeds: Makes the first inputs in a folder.
        change: Makes another input.
    """

    name: str
    ending: str
    read: Callable[[Path], Any]
    seeds: Callable[[Path], list[bytes]]
    change: Change


def _words(*words: bytes) -> Change:
    return lambda data, pick, others: changed(data, pick, others, words)


# Packed models -------------------------------------------------------------------------------
def _read_packed(path: Path) -> None:
    model_header.read_facts(path)
    with suppress(AudiopruneError):
        packing.unpack(path)
    with suppress(AudiopruneError):
        packing.inspect(path)
    load_model_file(path)


def _packed_seeds(folder: Path) -> list[bytes]:
    made = []
    for number in range(4):
        torch.manual_seed(number)
        model = build_model(_MODEL, trusted=True)
        names = [name for name, value in model.named_parameters() if value.dim() > 1]
        mask = Mask({name: torch.rand(model.get_parameter(name).shape) < 0.4 for name in names})
        mask.apply_(model)
        books = quantize_(model, mask, {names[0]: 4}) if number else None
        config = {"model": _MODEL, "task": _TASK}
        packing.pack(
            folder / "a.apz",
            model.state_dict(),
            mask=None if number == 3 else mask,
            codebooks=None if number == 3 else books,
            config=config,
        )
        made.append((folder / "a.apz").read_bytes())
    return [*made, *_grids(folder)]


def _grids(folder: Path) -> list[bytes]:
    """Return a file of the second format version."""
    from audioprune.compress.quantize.contract import quantize_with_
    from audioprune.compress.quantize.uniform import Uniform

    model = build_model(_MODEL, trusted=True)
    names = [name for name, value in model.named_parameters() if value.dim() > 1]
    books = quantize_with_(model, None, dict.fromkeys(names, Uniform()))
    config = {"model": _MODEL, "task": _TASK}
    packing.pack(folder / "a.apz", model.state_dict(), codebooks=books, config=config)
    return [(folder / "a.apz").read_bytes()]


def _change_packed(data: bytes, pick: random.Random, others: Sequence[bytes]) -> bytes:
    """Change header or bodies and give the file fitting sums, or change its bytes as they are."""
    how = pick.randrange(8)
    if how == 0:
        return changed(data, pick, others, (b"\x89APZ",))
    head, rest = _packed_parts(data)
    if head is None:
        data = changed(data[:-32], pick, others, (b"\x89APZ",))
        return data + hashlib.sha256(data).digest()
    if how < 4:
        head = changed_json(head, pick)
    elif how < 7:
        rest = changed(rest, pick, others, ())
    text = json.dumps(head).encode()
    if how == 7:
        text = changed(text, pick, others, (b"[", b"{", b'"', b"null", b"1e999", b"NaN"))
    return _packed_file(text, rest, pick.choice((1, 1, 2)))


def _packed_parts(data: bytes) -> tuple[Any, bytes]:
    length = int.from_bytes(data[6:10], "little")
    inflate = zlib.decompressobj(-15, zdict=model_header.COMMON_TEXT)
    try:
        head = json.loads(inflate.decompress(data[10 : 10 + length], 1 << 20))
    except (zlib.error, ValueError, RecursionError):
        return None, b""
    return head, data[10 + length : -32]


def _packed_file(text: bytes, rest: bytes, version: int) -> bytes:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15, zdict=model_header.COMMON_TEXT)
    small = deflate.compress(text) + deflate.flush()
    rest = _with_sums(text, rest)
    start = b"\x89APZ" + version.to_bytes(2, "little") + len(small).to_bytes(4, "little")
    return start + small + rest + hashlib.sha256(start + small + rest).digest()


def _with_sums(text: bytes, rest: bytes) -> bytes:
    """Give every body a fitting CRC where the header tells its length."""
    with suppress(ValueError, KeyError, TypeError, IndexError, RecursionError, OverflowError):
        rows = json.loads(text)["tensors"]
        at, fitted = 12 * len(rows), bytearray(rest)
        for place, row in enumerate(rows):
            end = at + row[6] + row[7]
            fitted[12 * place : 12 * place + 4] = zlib.crc32(rest[at:end]).to_bytes(4, "little")
            at = end
        return bytes(fitted)
    return rest


# Dense models --------------------------------------------------------------------------------
def _read_dense(path: Path) -> None:
    model_header.read_facts(path)
    checkpoint.is_foreign(path)
    with suppress(AudiopruneError):
        checkpoint.read(path)
    with suppress(AudiopruneError):
        read_state_dict(path)
    load_model_file(path, _MODEL)


def _dense_seeds(folder: Path) -> list[bytes]:
    from safetensors.torch import save

    model = build_model(_MODEL, trusted=True)
    state = {f"model/{name}": value for name, value in model.state_dict().items()}
    masks = {f"mask/{name}": value > 0 for name, value in model.state_dict().items()}
    facts = {"model_config": _MODEL, "task": _TASK, "data": None, "seed": 0}
    one = checkpoint.write(folder / "a.safetensors", state, facts).read_bytes()
    two = checkpoint.write(folder / "a.safetensors", state | masks, facts).read_bytes()
    return [one, two, save(dict(model.state_dict()))]


def _change_dense(data: bytes, pick: random.Random, others: Sequence[bytes]) -> bytes:
    length = int.from_bytes(data[:8], "little")
    how = pick.randrange(5)
    try:
        head = json.loads(data[8 : 8 + length])
    except (ValueError, RecursionError):
        return changed(data, pick, others, (b"__metadata__",))
    if how == 0:
        return changed(data, pick, others, (b"__metadata__",))
    meta = head.get("__metadata__") if isinstance(head, dict) else None
    if how < 3 and isinstance(meta, dict) and isinstance(meta.get("audioprune"), str):
        with suppress(ValueError, RecursionError):
            facts = changed_json(json.loads(meta["audioprune"]), pick)
            meta = {**meta, "audioprune": json.dumps(facts)}
        head = {**head, "__metadata__": meta}
    elif how == 3:
        head = changed_json(head, pick)
    body = data[8 + length :]
    return _dense_file(head, body if how < 4 else changed(body, pick, others, ()))


def _dense_file(head: Any, body: bytes) -> bytes:
    """Return a file whose digest fits, where the library can read it at all."""
    data = _safetensors(head, body)
    with suppress(Exception):
        from safetensors.torch import load

        meta = head["__metadata__"]
        meta["sha256"] = checkpoint._digest(load(data), meta["audioprune"])
        return _safetensors(head, body)
    return data


def _safetensors(head: Any, body: bytes) -> bytes:
    text = json.dumps(head).encode()
    return len(text).to_bytes(8, "little") + text + body


# State dicts of other programs ---------------------------------------------------------------
def _pickled_seeds(folder: Path) -> list[bytes]:
    made = []
    state = dict(build_model(_MODEL, trusted=True).state_dict())
    for held in (state, {"model": state, "epoch": 3, "optimizer": {"lr": 0.1}}):
        for modern in (True, False):
            stream = io.BytesIO()
            torch.save(held, stream, _use_new_zipfile_serialization=modern)
            made.append(stream.getvalue())
    return [*made, pickle.dumps({"a": [1, 2]}, protocol=2)]


def _change_pickled(data: bytes, pick: random.Random, others: Sequence[bytes]) -> bytes:
    words = (
        b"cos\nsystem\n",
        b"c__builtin__\neval\n",
        b"(S'touch canary'\ntR.",
        b"\x80\x02",
        b"}",
    )
    if pick.random() < 0.3 or not zipfile.is_zipfile(io.BytesIO(data)):
        return changed(data, pick, others, words)
    with suppress(Exception):
        out = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
            for entry in old.infolist():
                content = old.read(entry.filename)
                if pick.random() < 0.4:
                    content = changed(content, pick, others, words)
                name = entry.filename
                if pick.random() < 0.05:
                    name = pick.choice((f"../{name}", "/etc/x", name[:-1], f"{name}/code/x"))
                kind = pick.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
                new.writestr(name, content, kind)
        return out.getvalue()
    return data


# Records of a run: one file of the run folder is the input, its name stands in the first line ---
_RUN = {
    "run.json": {"name": "a", "verb": "prune", "hash": "0" * 12, "config": {"seed": 0}},
    "status.json": {"status": "finished", "seconds": 1.5},
    "env.json": {"audioprune": "1", "versions": {"torch": "2"}},
}
_ROWS = [
    {"key": "a", "kind": "score", "label": "FDNN", "variant": "uncompressed", "model": "fdnn"}
    | {"seed": 0, "scale": "tiny", "split": "test", "condition": "babble -5 dB", "n": 2}
    | {"noise": "babble", "snr_db": -5.0, "metrics": {"stoi": 0.5}, "corpus": "c"},
    {"key": "b", "kind": "size", "label": "FDNN", "variant": "uncompressed", "params": 10}
    | {"nonzero": 8, "sparsity": 0.2, "bytes_fp32": 40, "bytes_file": 90, "file": "model.apz"},
    {"key": "c", "kind": "iteration", "label": "FDNN", "iteration": 1, "remaining_share": 0.5}
    | {"nonzero": 5, "removed_share": 0.5, "density_per_tensor": {"w": 0.5}},
    {"key": "d", "kind": "train", "label": "FDNN", "epochs": 2, "best": 0.1, "monitor": "loss"},
]


def _read_run(path: Path) -> None:
    name, _, content = path.read_bytes().partition(b"\n")
    place = path.parent / name.decode("ascii", "replace").strip("./")[:40].replace("/", "_")
    own = path.parent / "run"
    own.mkdir()
    (own / ".hydra").mkdir()
    for known, value in _RUN.items():
        (own / known).write_text(json.dumps(value))
    (own / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in _ROWS))
    if place.name in ("config.yaml", "overrides.yaml"):
        (own / ".hydra" / place.name).write_bytes(content)
    elif place.name in (*_RUN, "results.jsonl", "items-a.csv", "rows.jsonl", "log.jsonl"):
        (own / place.name).write_bytes(content)
    with suppress(AudiopruneError):
        results.Results(own / "results.jsonl")
    with suppress(AudiopruneError):
        run_folder.refuse_foreign(own, {"seed": 0, "runtime": {}})
    read_lines(own / "log.jsonl")
    results.read_items(own)
    jobs = load_jobs(own / place.name if place.name == "rows.jsonl" else own)
    entries(jobs)


def _run_seeds(folder: Path) -> list[bytes]:
    del folder
    rows = "".join(json.dumps(row) + "\n" for row in _ROWS).encode()
    made = [b"results.jsonl\n" + rows, b"log.jsonl\n" + rows]
    made += [name.encode() + b"\n" + json.dumps(value).encode() for name, value in _RUN.items()]
    head = {"kind": "run", "folder": "a", "state": _RUN["status.json"], "env": {}, "command": ""}
    head |= {**_RUN["run.json"], "common": {"corpus": "c"}}
    made.append(b"rows.jsonl\n" + json.dumps(head).encode() + b"\n" + rows)
    made.append(b"items-a.csv\nkey,id,stoi\na,x1,0.5\na,x2,\n")
    made.append(b"config.yaml\nseed: 0\nmodel:\n  name: fdnn\n  width: ${width}\n")
    made.append(b"overrides.yaml\n- seed=0\n- model=fdnn\n")
    return made


def _change_run(data: bytes, pick: random.Random, others: Sequence[bytes]) -> bytes:
    name, _, content = data.partition(b"\n")
    lines = content.split(b"\n")
    if pick.random() < 0.7 and b".json" in name:
        at = pick.randrange(len(lines))
        with suppress(ValueError, RecursionError):
            lines[at] = json.dumps(changed_json(json.loads(lines[at]), pick)).encode()
        return name + b"\n" + b"\n".join(lines)
    words = (b"{", b"[", b'"', b"null", b"NaN", b"1e999", b"&a [*a]", b"*a", b": ", b"- ", b",")
    return name + b"\n" + changed(content, pick, others, words)


# Schedules of Distiller ----------------------------------------------------------------------
def _schedule_seeds(folder: Path) -> list[bytes]:
    from importlib import resources

    shipped = resources.files("audioprune.distiller") / "schedules"
    made = [entry.read_bytes() for entry in shipped.iterdir() if entry.name.endswith(".yaml")]
    made.append(
        b"version: 1\nlr_schedulers:\n  a:\n    class: StepLR\n    step_size: 2\n    gamma: 0.5\n"
        b"pruners:\n  b:\n    class: AutomatedGradualPruner\n    initial_sparsity: 0.05\n"
        b"    final_sparsity: 0.8\n    weights: [w]\nregularizers:\n  c:\n"
        b"    class: L1Regularizer\n    reg_regims:\n      w: 1e-5\npolicies:\n"
        b"  - lr_scheduler: {instance_name: a}\n    starting_epoch: 0\n    ending_epoch: 9\n"
        b"    frequency: 1\n  - pruner: {instance_name: b}\n    epochs: [0, 2, 4]\n"
        b"  - regularizer: {instance_name: c, args: {keep_mask: true}}\n    starting_epoch: 0\n"
        b"    ending_epoch: 3\n    frequency: 1\n"
    )
    return made


_YAML = (
    *(
        b"- ",
        b": ",
        b"\n  ",
        b"&a ",
        b"*a",
        b"<<: *a",
        b"!!python/object/apply:os.system ",
        b"|\n",
    ),
    *(b"{", b"}", b"[", b"]", b"'", b'"', b"#", b"~", b"1e-5", b".nan", b".inf", b"2001-01-01"),
    *(b"class: SensitivityPruner", b"class: StructureParameterPruner", b"instance_name: ", b"? "),
    *(b"class: MagnitudeParameterPruner", b"class: L1Regularizer", b"class: CosineAnnealingLR"),
    *(b"epochs: ", b"starting_epoch: ", b"frequency: ", b"args: ", b"sensitivities: ", b"!!set "),
    *(
        b"class: StructuredAGP",
        b"class: LevelPruner",
        b"99999999999",
        b"0o17",
        b"1:30",
        b"!!binary ",
    ),
)


# Audio ---------------------------------------------------------------------------------------
def _read_sound(path: Path) -> None:
    headers.missing_bytes(path)
    headers.is_shortened_sphere(path)
    checks.check_header(path)
    checks.inspect_file(path)
    with suppress(AudiopruneError):
        audio.read_info(path)
    with suppress(AudiopruneError):
        audio.read_audio(path, 3, 5)
    audio.AudioStore(16000, 1 << 16).whole(path)


def _sound_seeds(folder: Path) -> list[bytes]:
    samples = 0.3 * np.sin(np.arange(300) / 9)
    made = []
    for kind, coding in (
        *(("WAV", "PCM_16"), ("WAV", "FLOAT"), ("WAV", "ULAW"), ("WAVEX", "PCM_24")),
        *(("RF64", "PCM_16"), ("W64", "PCM_16"), ("AIFF", "PCM_16"), ("AU", "PCM_16")),
        *(("CAF", "PCM_16"), ("NIST", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS")),
        *(("MP3", "MPEG_LAYER_III"), ("WAV", "MS_ADPCM"), ("WAV", "GSM610")),
    ):
        stream = io.BytesIO()
        soundfile.write(stream, samples, 16000, format=kind, subtype=coding)
        made.append(stream.getvalue())
    return made


# Lists and tables: the reader stands in the first line -----------------------------------------
_LISTS: dict[str, tuple[Callable[[Path], Any], list[bytes]]] = {
    "table": (
        lambda path: lists.read_table(path, "a table").records(),
        [b'a,b\n"x, y",2\n', b"a;b\n1;2\n", "a\tb\né\t2\n".encode("utf-16")],
    ),
    "splits": (
        lambda path: split_list.read_split_list(path, path.parent),
        [b"train p1\ntest p2\n", b"split,path\ntrain,a.wav\ntest,sub/b.wav\n"],
    ),
    "speakers": (
        lambda path: speakers._by_table(path.parent, path, {path.parent / "a.wav": Path("a.wav")}),
        [b"path,speaker\na.wav,p1\n"],
    ),
    "scenes": (
        lambda path: scene_table.list_table(path.parent, path),
        [b"filename,label\na.wav,x\nsub/b.wav,y\n", b"filename,label,split\na.wav,x,train\n"],
    ),
    "tut": (tut_lists.read_rows, [b"audio/a.wav\tbeach\n", b"file,scene_label\na.wav,bus\n"]),
    "ratings": (
        lambda path: read_ratings([path]),
        [b"session_test_id,trial_id,rating_stimulus,rating_score\nt,a,b,50\nt,a,c,99\n"],
    ),
    "nsynth": (
        nsynth._records,
        [b'{"a_1-060-100": {"pitch": 60, "velocity": 100, "instrument_str": "a"}}'],
    ),
}


def _read_list(path: Path) -> None:
    kind, _, content = path.read_bytes().partition(b"\n")
    found = _LISTS.get(kind.decode("ascii", "replace"))
    place = path.parent / "list.csv"
    place.write_bytes(content)
    if found:
        found[0](place)


def _list_seeds(folder: Path) -> list[bytes]:
    del folder
    return [name.encode() + b"\n" + each for name, (_, made) in _LISTS.items() for each in made]


def _change_list(data: bytes, pick: random.Random, others: Sequence[bytes]) -> bytes:
    kind, _, content = data.partition(b"\n")
    if pick.random() < 0.05:
        kind = pick.choice(list(_LISTS)).encode()
    words = (
        b",",
        b";",
        b"\t",
        b'"',
        b"\r\n",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"#",
        b"../",
        b"a.wav",
    )
    return kind + b"\n" + changed(content, pick, others, (*words, b"train", b"path", b"label"))


# Caches: the kind stands in the first line ------------------------------------------------------
def _read_cache(path: Path) -> None:
    kind, _, content = path.read_bytes().partition(b"\n")
    place = path.parent / "cache"
    place.mkdir()
    if kind == b"index":
        (place / "i").write_bytes(_with_hash(content))
        index = index_file.IndexFile.read(place / "i")
        index.known({path: (b"a.wav", (1, 2))})
        index.write({})
    elif kind == b"scores":
        (place / "scores.jsonl").write_bytes(content)
        ScoreCache(place).get("a", "stoi")
    elif kind == b"reading":
        with suppress(ValueError, RecursionError):
            value = json.loads(content)
            scene_reading.read(value)


def _with_hash(content: bytes) -> bytes:
    return content[:32] + hashlib.sha256(content[64:]).digest() + content[64:]


def _cache_seeds(folder: Path) -> list[bytes]:
    from dataclasses import asdict

    from audioprune.data.scenes.features import SceneFeatures

    finding = checks.Finding(folder / "a.wav", "error", "cut", "why")
    found = checks.FileFacts(
        *(folder / "a.wav", 9, "0" * 64, "1" * 64, 16000, 1, 8, 0.5, "12", (finding,))
    )
    index = index_file.IndexFile(folder / "i")
    index.write({b"a.wav": ((1, 2), found), b"b.wav": ((1, 2), found)})
    scores = ScoreCache(folder)
    scores.put("a", {"stoi": 0.5})
    scores.write()
    features = SceneFeatures()
    numbers = scene_reading._text(np.zeros(features.mels, np.float32))
    facts = {"classes": ["a"], "features": asdict(features), "mean": numbers, "std": numbers}
    return [
        b"index\n" + (folder / "i").read_bytes(),
        b"scores\n" + (folder / "scores.jsonl").read_bytes(),
        b"reading\n" + json.dumps(facts).encode(),
    ]


def _change_cache(data: bytes, pick: random.Random, others: Sequence[bytes]) -> bytes:
    kind, _, content = data.partition(b"\n")
    if kind != b"index" and pick.random() < 0.6:
        with suppress(ValueError, RecursionError):
            return kind + b"\n" + json.dumps(changed_json(json.loads(content), pick)).encode()
    return kind + b"\n" + changed(content, pick, others, (b"{", b"[", b'"', b"1e999"))


_SOUND = (b"RIFF", b"RF64", b"data", b"fmt ", b"ds64", b"FORM", b"SSND", b"COMM", b"caff", b"desc")
READERS = {
    each.name: each
    for each in (
        Reader("packed", ".apz", _read_packed, _packed_seeds, _change_packed),
        Reader("dense", ".safetensors", _read_dense, _dense_seeds, _change_dense),
        Reader("pickled", ".pt", read_state_dict, _pickled_seeds, _change_pickled),
        Reader("schedule", ".yaml", load_schedule, _schedule_seeds, _words(*_YAML)),
        Reader("results", ".run", _read_run, _run_seeds, _change_run),
        Reader(
            *("audio", ".wav", _read_sound, _sound_seeds),
            _words(*_SOUND, b".snd", b"NIST_1A\n   1024\n", b"riff", b"OggS", b"ID3", b"Xing"),
        ),
        Reader("lists", ".list", _read_list, _list_seeds, _change_list),
        Reader("caches", ".cache", _read_cache, _cache_seeds, _change_cache),
    )
}
"""The readers by name."""
