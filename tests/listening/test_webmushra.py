"""The configuration for webMUSHRA: its keys, its paths, its dialect of YAML."""

from __future__ import annotations

import yaml

from audioprune.listening.webmushra import configuration, to_yaml

CONDITIONS = ["reference", "coded", "DCAE", "anchor35", "anchor70"]


def _configuration() -> dict:
    return configuration(
        "t1", 'A "test": with, signs', {"a": CONDITIONS, "b": CONDITIONS}, "Listen: well"
    )


def test_yaml_reads_back_equal() -> None:
    assert yaml.safe_load(to_yaml(_configuration())) == _configuration()


def test_pages_and_paths() -> None:
    config = _configuration()
    assert (config["testId"], config["bufferSize"], config["remoteService"]) == (
        "t1",
        2048,
        "service/write.php",
    )
    generic, volume, trials, finish = config["pages"]
    assert [generic["type"], volume["type"], finish["type"]] == [
        "generic",
        "volume",
        "finish",
    ] and finish["writeResults"] is True
    assert trials[0] == "random" and [page["id"] for page in trials[1:]] == ["a", "b"]
    page = trials[1]
    assert (
        page["reference"] == "configs/resources/t1/audio/a/reference.wav"
        and page["strict"] is True
    )
    assert page["createAnchor35"] is False and page["createAnchor70"] is False
    assert page["stimuli"] == {
        name: f"configs/resources/t1/audio/a/{name}.wav" for name in CONDITIONS[1:]
    }


def test_dialect_is_what_a_small_parser_reads() -> None:
    text = to_yaml(_configuration())
    assert "- -" not in text and '    -\n      - "random"\n      - type: "mushra"\n' in text
    values = [line.partition(": ")[2] for line in text.splitlines() if ": " in line]
    assert all(
        value in ("true", "false") or value[0] == '"' or value.replace(".", "").isdigit()
        for value in values
    )
