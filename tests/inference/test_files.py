"""A file is enhanced into another one of the same form, or nothing is written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from made_enhancers import enhancer_file, recording

from audioprune.errors import DataError, OutputError
from audioprune.inference.blocks import BlockPlan
from audioprune.inference.enhancer import Enhancer, load_enhancer
from audioprune.inference.files import enhance_file


class Doubled(torch.nn.Module):
    """A mask of 2."""

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        return torch.full_like(frames, 2.0)


@pytest.fixture(scope="module")
def enhancer(tmp_path_factory: pytest.TempPathFactory) -> Enhancer:
    return load_enhancer(str(enhancer_file(tmp_path_factory.mktemp("model") / "model.apz")))


def test_blocks_of_a_file_are_the_whole(enhancer: Enhancer, tmp_path: Path) -> None:
    source = recording(tmp_path / "in.wav", 0.7, channels=2, subtype="FLOAT")
    report = enhance_file(enhancer, source, tmp_path / "out" / "out.wav", block_s=0.1)
    made, rate = soundfile.read(tmp_path / "out" / "out.wav", dtype="float32")
    noisy = torch.from_numpy(soundfile.read(source, dtype="float32")[0].T.copy())
    whole = enhancer.task.enhance(enhancer.model, noisy).numpy().T
    assert rate == 16000 and np.abs(made - whole).max() <= 1e-5 * np.abs(whole).max()
    assert report.channels == 2 and abs(report.duration_s - 0.7) < 1e-9
    assert [each.name for each in (tmp_path / "out").iterdir()] == ["out.wav"]


@pytest.mark.parametrize(
    ("name", "subtype", "kept"),
    [("out.wav", "PCM_24", "PCM_24"), ("out.flac", "FLOAT", "PCM_16"), ("o.ogg", "x", "VORBIS")],
)
def test_the_coding_is_that_of_the_input_where_it_can_be(
    enhancer: Enhancer, tmp_path: Path, name: str, subtype: str, kept: str
) -> None:
    source = recording(tmp_path / "in.wav", subtype=subtype if subtype != "x" else "PCM_16")
    enhance_file(enhancer, source, tmp_path / name)
    assert soundfile.info(tmp_path / name).subtype == kept


def test_what_is_beyond_full_scale_is_counted(enhancer: Enhancer, tmp_path: Path) -> None:
    path = tmp_path / "loud.wav"
    soundfile.write(path, np.full(4000, 0.9), 16000)
    louder = Enhancer(Doubled().eval(), enhancer.task, BlockPlan("overlap"))
    report = enhance_file(louder, path, tmp_path / "out.wav")
    made = soundfile.read(tmp_path / "out.wav")[0]
    assert report.clipped == 4000 and made.min() > 0.999


def _damage(path: Path, kind: str) -> None:
    data = path.read_bytes()
    contents = {"cut": data[:2000], "empty": b"", "other": b"no audio at all" * 9, "gone": None}
    if kind == "nan":
        samples = soundfile.read(path)[0]
        samples[77] = np.inf
        soundfile.write(path, samples, 16000, subtype="FLOAT")
    elif kind == "silent":
        soundfile.write(path, np.zeros(0), 16000)
    elif contents[kind] is None:
        path.unlink()
    else:
        path.write_bytes(contents[kind])


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("cut", "cut short"),
        ("empty", "empty file"),
        ("other", "not decodable"),
        ("gone", "no such file"),
        ("nan", "infinity at sample 77"),
        ("silent", "expected samples, got"),
    ],
)
def test_a_bad_input_writes_nothing(
    enhancer: Enhancer, tmp_path: Path, kind: str, message: str
) -> None:
    source = recording(tmp_path / "in.wav")
    _damage(source, kind)
    with pytest.raises(DataError, match=f"in.wav: .*{message}"):
        enhance_file(enhancer, source, tmp_path / "out.wav")
    assert not (tmp_path / "out.wav").exists() and not list(tmp_path.glob("*.tmp.*"))


def test_the_input_and_other_files_are_never_overwritten(
    enhancer: Enhancer, tmp_path: Path
) -> None:
    source = recording(tmp_path / "in.wav")
    (tmp_path / "link.wav").symlink_to(source)
    for target in (source, tmp_path / "link.wav"):
        with pytest.raises(OutputError, match="another file than the input"):
            enhance_file(enhancer, source, target, overwrite=True)
    (tmp_path / "out.wav").write_bytes(b"mine")
    with pytest.raises(OutputError, match="overwrite=true"):
        enhance_file(enhancer, source, tmp_path / "out.wav")
    assert (tmp_path / "out.wav").read_bytes() == b"mine"
    with pytest.raises(OutputError, match="ends in .wav"):
        enhance_file(enhancer, source, tmp_path / "out.txt")
    with pytest.raises(DataError, match="expected 16000 Hz, got 8000 Hz"):
        enhance_file(
            enhancer, recording(tmp_path / "8.wav", rate=8000), tmp_path / "o.wav", resample=False
        )
