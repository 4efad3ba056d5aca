"""The place of a process among several, and who of them is heard."""

from __future__ import annotations

import os
import sys

import pytest
from tiny_runs import in_child

from audioprune import launch
from audioprune.errors import ConfigError
from audioprune.launch import Place, place

SET = {
    "RANK": "3",
    "WORLD_SIZE": "4",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "29500",
}


def test_the_place_is_what_the_launcher_says() -> None:
    assert place({}) == place({"WORLD_SIZE": "1", "RANK": "0"}) == Place()
    assert place(SET) == Place(3, 4, 1, 2) and not place(SET).is_main
    assert place({**SET, "RANK": "0"}).is_main


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"RANK": ""}, "WORLD_SIZE=4: expected RANK beside it"),
        ({"RANK": "4"}, "RANK=4: expected a number below WORLD_SIZE=4"),
        ({"RANK": "-1"}, "RANK=-1: expected a whole number from 0 on"),
        ({"WORLD_SIZE": "many"}, "WORLD_SIZE=many: expected a whole number from 1 on"),
        ({"LOCAL_RANK": "x"}, "LOCAL_RANK=x: expected a whole number"),
    ],
)
def test_a_half_set_environment_is_refused(changed: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        place({**SET, **changed})


def test_one_process_of_accelerate_in_place_of_several_is_refused() -> None:
    given = {"ACCELERATE_DYNAMO_BACKEND": "NO", "MASTER_PORT": "29500"}
    with pytest.raises(ConfigError, match="accelerate launch --cpu: expected several processes"):
        place(given)
    assert place({"ACCELERATE_DYNAMO_BACKEND": "NO"}) == Place()


def test_a_muted_process_keeps_its_last_lines() -> None:
    def muted() -> None:
        reading, writing = os.pipe()
        os.dup2(writing, 1)
        os.dup2(writing, 2)
        launch.mute()
        assert launch.is_muted() and not launch.is_settled()
        print("unheard", flush=True)
        os.write(2, b"unheard")
        print("\n".join(map(str, range(30))), file=sys.stderr)
        kept = launch.unmute()
        assert kept.splitlines() == [str(line) for line in range(10, 30)]
        os.write(1, b"heard")
        assert os.read(reading, 100) == b"heard" and not launch.is_muted()
        launch.mute(settled=True)
        assert launch.is_settled()

    assert in_child(muted) == 0
