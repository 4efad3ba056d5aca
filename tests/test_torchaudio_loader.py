"""Importing torchaudio beside a torch that its compiled part does not fit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from audioprune.experiment.model_io import instantiate
from audioprune.torchaudio_loader import describe_torchaudio, make_importable

# A package that loads its libraries as torchaudio does: what the loading does is put in.
FILES = {
    "__init__.py": "from . import _extension\n__version__ = '9.9'\n",
    "_extension/__init__.py": (
        "from .utils import _load_lib\n"
        "_IS_TORCHAUDIO_EXT_AVAILABLE = _load_lib('_torchaudio')\n"
        "def fail_if_no_align(function):\n"
        "    return function\n"
    ),
    "_extension/utils.py": "def _load_lib(lib):\n    {body}\n",
}
ASK = "from audioprune.torchaudio_loader import describe_torchaudio; print(describe_torchaudio())"


def _package(folder: Path, body: str) -> None:
    for name, text in FILES.items():
        file = folder / "torchaudio" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.replace("{body}", body))


def _python(code: str, folder: Path) -> str:
    path = f"import sys; sys.path.insert(0, {str(folder)!r}); "
    command = [sys.executable, "-c", path + code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ("return True", "compiled"),
        ("return False", "pure Python"),
        ("raise OSError('libcudart.so.13: cannot open')", "pure Python"),
        ("raise RuntimeError('compiled with different CUDA versions')", "pure Python"),
    ],
)
def test_a_compiled_part_that_does_not_fit_is_left_out(
    tmp_path: Path, body: str, answer: str
) -> None:
    _package(tmp_path, body)
    assert _python(ASK, tmp_path) == answer


def test_an_import_that_failed_before_works_afterwards(tmp_path: Path) -> None:
    _package(tmp_path, "raise OSError('libcudart.so.13: cannot open')")
    code = (
        "from audioprune.torchaudio_loader import make_importable\n"
        "try:\n    import torchaudio\n"
        "except OSError:\n    print('failed')\n"
        "make_importable()\nassert 'torchaudio' not in sys.modules\n"
        "import torchaudio\n"
        "from torchaudio._extension import fail_if_no_align\n"
        "print(torchaudio.__version__, fail_if_no_align(7), 'torch' in sys.modules)"
    )
    assert _python(code, tmp_path).split() == ["failed", "9.9", "7", "False"]


def test_other_failures_are_told(tmp_path: Path) -> None:
    _package(tmp_path, "return True")
    (tmp_path / "torchaudio" / "__init__.py").write_text("import nothing_of_that_name\n")
    answer = "not importable: ModuleNotFoundError: No module named 'nothing_of_that_name'"
    assert _python(ASK, tmp_path) == answer


def test_the_real_torchaudio_works_in_this_process() -> None:
    make_importable()
    make_importable()
    import torchaudio

    assert describe_torchaudio() in ("compiled", "pure Python")
    spectrum = torchaudio.transforms.MelSpectrogram(16000, n_mels=40)(torch.ones(1600))
    assert spectrum.shape == (40, 9)


def test_whatever_a_configuration_names_may_import_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "meta_path", [each for each in sys.meta_path if not _ours(each)])
    instantiate({"_target_": "torch.nn.Identity"})
    assert any(map(_ours, sys.meta_path))


def _ours(finder: object) -> bool:
    return type(finder).__module__ == "audioprune.torchaudio_loader"
