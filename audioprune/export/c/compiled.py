"""How the C of a model is compiled and run from here: ``Compiled``, to compare it with torch.

Compilers are ``gcc`` and ``clang``, whichever is there; warnings are errors. Nothing stays behind.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from audioprune.errors import OutputError

COMPILERS = ("gcc", "clang")
FLAGS = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-O3")


def compilers() -> list[str]:
    """Return the C compilers of this machine."""
    return [name for name in COMPILERS if shutil.which(name)]


class Compiled:
    """A model in C, compiled and loaded.

    Args:
        files: Text by file name.
        name: What its names begin with.
        shapes: Shapes of the outputs.
        compiler: ``gcc`` or ``clang``.

    Raises:
        OutputError: The compiler refuses the text.
    """

    def __init__(
        self,
        files: Mapping[str, str],
        name: str,
        shapes: Sequence[tuple[int, ...]],
        compiler: str,
    ) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for file, text in files.items():
                Path(folder, file).write_text(text, encoding="utf-8")
            size = (
                "size_t {0}_bytes(void); size_t {0}_bytes(void) {{ return sizeof({0}_state); }}\n"
            )
            probe = f'#include <stddef.h>\n#include "{name}.h"\n{size.format(name)}'
            Path(folder, "probe.c").write_text(probe, encoding="utf-8")
            words = [compiler, *FLAGS, "-shared", "-fPIC", f"{name}.c", "probe.c", "-lm"]
            done = subprocess.run(
                [*words, "-o", "model.so"], cwd=folder, capture_output=True, text=True, check=False
            )
            if done.returncode:
                line = next(iter(done.stderr.splitlines()), "no reason")
                raise OutputError(
                    f"format=c: expected C that {compiler} takes, got '{line[:160]}'; use "
                    f"another compiler"
                )
            library = ctypes.CDLL(str(Path(folder, "model.so")))
        count = getattr(library, f"{name}_bytes")
        count.restype = ctypes.c_size_t
        self.bytes = int(count())
        self._state = ctypes.create_string_buffer(self.bytes + 64)
        self._init: Any = getattr(library, f"{name}_init")
        self._step: Any = getattr(library, f"{name}_step")
        self.shapes = [tuple(shape) for shape in shapes]
        self.reset()

    def reset(self) -> None:
        """Go back to before the first frame."""
        self._init(self._state)

    def step(self, *frames: Tensor) -> tuple[Tensor, ...]:
        """Map one frame of each input to the outputs."""
        given = [value.float().contiguous() for value in frames]
        made = [torch.zeros(shape) for shape in self.shapes]
        pointers = [ctypes.c_void_p(value.data_ptr()) for value in (*given, *made)]
        self._step(self._state, *pointers)
        return tuple(made)
