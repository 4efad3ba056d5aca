"""Raw samples go through a pipe while they come."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest
from made_enhancers import enhancer_file

from audioprune.errors import ConfigError, DataError, OutputError
from audioprune.inference.enhancer import Enhancer, load_enhancer
from audioprune.inference.pipes import Raw, enhance_pipe, pipe_stream, raw_writer


@pytest.fixture(scope="module")
def enhancer(tmp_path_factory: pytest.TempPathFactory) -> Enhancer:
    return load_enhancer(str(enhancer_file(tmp_path_factory.mktemp("model") / "model.apz")))


def _noise(samples: int, channels: int) -> np.ndarray:
    found = 0.1 * np.random.default_rng(0).standard_normal((samples, channels))
    return found.astype(np.float32)


@pytest.mark.parametrize("coding", ["s16le", "f32le"])
def test_every_sample_comes_out_again(enhancer: Enhancer, coding: str, tmp_path: Path) -> None:
    raw = Raw(coding, 16000, 2)
    data, _ = raw.encode(_noise(5000, 2))
    (tmp_path / "in").write_bytes(data + b"\0")
    with open(tmp_path / "in", "rb") as source, open(tmp_path / "out", "wb") as sink:
        stream = pipe_stream(enhancer, raw, 0.1)
        report = enhance_pipe(stream, raw, source, raw_writer(raw, sink))
    made = raw.decode((tmp_path / "out").read_bytes())
    whole = enhancer.stream(2, 16000, np.full(2, 0.1)).push(raw.decode(data), last=True)
    assert report.lost == 1 and report.duration_s == 5000 / 16000
    assert np.abs(made - whole).max() <= (1e-6 if coding == "f32le" else 1 / 32768)


def test_output_comes_before_the_input_ends(enhancer: Enhancer) -> None:
    raw = Raw("f32le", 16000)
    inner, outer = os.pipe()
    made: list[int] = []
    with os.fdopen(inner, "rb", buffering=0) as source, os.fdopen(outer, "wb") as feed:

        def collect(samples: np.ndarray) -> int:
            made.append(len(samples))
            return 0

        stream = pipe_stream(enhancer, raw, None)
        thread = threading.Thread(target=enhance_pipe, args=(stream, raw, source, collect))
        thread.start()
        for _ in range(10):
            feed.write(raw.encode(_noise(160, 1))[0])
            feed.flush()
        while sum(made) < 10 * 160 - 320:
            thread.join(0.01)
        feed.close()
        thread.join()
    assert sum(made) == 1600


def test_numbers_are_cut_off_and_counted() -> None:
    raw = Raw("s16le", 16000)
    data, over = raw.encode(np.array([[1.5], [-1.0], [-1.1], [32767 / 32768]], np.float32))
    assert over == 2 and np.frombuffer(data, "<i2").tolist() == [32767, -32768, -32768, 32767]


def test_bad_pipes_are_refused(enhancer: Enhancer, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="rate=HZ"):
        Raw("s16le", 0)
    with pytest.raises(ConfigError, match="closest: s16le"):
        Raw("s16", 16000)
    raw = Raw("s16le", 16000)
    (tmp_path / "empty").touch()
    with open(tmp_path / "empty", "rb") as source, pytest.raises(DataError, match="got none"):
        enhance_pipe(pipe_stream(enhancer, raw, None), raw, source, len)
    inner, outer = os.pipe()
    os.close(inner)
    sink = os.fdopen(outer, "wb", buffering=0)
    with pytest.raises(OutputError, match="has ended"):
        raw_writer(raw, sink)(_noise(10, 1))
    sink.close()
