"""What the user reads where Hydra refuses an option."""

from __future__ import annotations

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
