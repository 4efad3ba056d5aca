"""What the user reads where Hydra refuses an option."""

from __future__ import annotations

import errno

import pytest
from hydra.errors import MissingConfigException

from audioprune.commands.messages import explain


@pytest.mark.parametrize(
    ("option", "told"),
    [
        (
            "model/zoo/nope",
            "no option model=zoo/nope -> closest: zoo/ge2e, zoo/crepe_tiny, zoo/crepe_full, "
            "zoo/silero_vad; a network of your own is model=module:Class",
        ),
        ("model/silero_vad", "closest: zoo/silero_vad;"),
        ("model/crn", "closest: gcrn, gtcrn, tcnn;"),
        ("pipeline/unit", "no option pipeline=unit -> closest: units, quantize"),
        ("task/xyzzy", "no option task=xyzzy -> closest: "),
    ],
)
def test_an_unknown_option_is_answered_by_the_closest(
    option: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = f"In 'info': Could not find '{option}'\n\nAvailable options in 'model':\n\ta\n\tb"
    assert explain(MissingConfigException(text, option)) == 2
    message = capsys.readouterr().err.strip()
    assert told in message and "\n" not in message and "Available" not in message


def test_a_disk_that_nobody_had_words_for_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(OSError(errno.EROFS, "Read-only file system", "cache")) == 5
    assert capsys.readouterr().err.startswith("error: cannot write cache: Read-only file system;")


def test_memory_that_ran_out_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    said = "[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory: you "
    error = RuntimeError(f"{said}tried to allocate 128000000 bytes. Error code 12")
    assert explain(error) == 1
    text = capsys.readouterr().err
    assert text.startswith("error: out of memory (128 MB more were asked for); close") and (
        "\n" not in text.strip()
    )
    assert explain(MemoryError()) == 1
    assert "out of memory; close other programs" in capsys.readouterr().err
