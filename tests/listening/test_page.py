"""The page: one file, nothing from outside, no readable names, the same audio as the WAV files."""

from __future__ import annotations

import base64
import io
import json
import re

import numpy as np
import soundfile

from audioprune.listening.page import build_page

RNG = np.random.default_rng(0)
CONDITIONS = ("reference", "noisy", "SystemOne", "anchor35", "anchor70")
TRIALS = {
    trial: {name: RNG.integers(-3000, 3000, 2400).astype(np.int16) for name in CONDITIONS}
    for trial in ("t-1", "t-2")
}
PAGE = build_page("mytest", "Title & <more>", TRIALS, 5)


def _plan(page: str = PAGE) -> dict:
    return json.loads(
        re.search(r'<script type="application/json" id="plan">(.*?)</script>', page, re.S)[1]
    )


def _name(key: str) -> str:
    return bytes(byte ^ 0x5A for byte in base64.b64decode(key)[::-1]).decode()


def _clip(number: int) -> np.ndarray:
    data = re.search(rf'id="clip-{number}">(.*?)</script>', PAGE)[1]
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(data)), dtype="int16")
    assert rate == 48000
    return samples


def test_every_clip_is_the_stimulus_bit_for_bit() -> None:
    plan = _plan()
    assert plan["test"] == "mytest" and [trial["id"] for trial in plan["trials"]] == ["t-1", "t-2"]
    for trial in plan["trials"]:
        assert [_name(each["key"]) for each in trial["stimuli"]] == list(CONDITIONS)
        for each in trial["stimuli"]:
            assert np.array_equal(_clip(each["clip"]), TRIALS[trial["id"]][_name(each["key"])])
        assert trial["reference"] == trial["stimuli"][0]["clip"]


def test_no_condition_can_be_read_or_guessed() -> None:
    body = re.sub(r'<script type="text/plain".*?</script>', "", PAGE, flags=re.S)
    assert "SystemOne" not in body and "anchor70" not in body and "noisy" not in body
    clips = [each["clip"] for trial in _plan()["trials"] for each in trial["stimuli"]]
    assert sorted(clips) == list(range(10)) and clips != sorted(clips)


def test_nothing_comes_from_outside() -> None:
    assert "default-src 'none'" in PAGE and not re.search(r"(src|href)=[\"'](?!data:)", PAGE)
    assert not re.search(r"https?://|fetch\(|XMLHttpRequest|import\(", PAGE)


def test_title_is_escaped_and_page_repeats() -> None:
    assert "<title>Title &amp; &lt;more&gt;</title>" in PAGE
    assert build_page("mytest", "Title & <more>", TRIALS, 5) == PAGE
    other = build_page("mytest", "Title & <more>", TRIALS, 6)
    assert _plan(other)["version"] != _plan()["version"]


def test_names_that_try_to_break_the_page_are_text() -> None:
    evil = "</script><script>alert(1)</script>\"'`]]>\x1b[31m\n../.."
    trials = {evil: {"reference": TRIALS["t-1"]["reference"], evil: TRIALS["t-1"]["noisy"]}}
    page = build_page(evil, evil, trials, 0)
    assert "<script>alert" not in page
    plan = _plan(page)
    assert plan["test"] == plan["trials"][0]["id"] == evil
    assert _name(plan["trials"][0]["stimuli"][1]["key"]) == evil
    assert page.count("<script") == PAGE.count("<script") - 8  # only eight clips fewer


def test_every_control_has_a_name_for_those_who_cannot_see_it() -> None:
    for tag in re.findall(r"<(?:button|input|textarea)\b[^>]*>", PAGE):
        labelled = (
            "aria-label=" in tag
            or tag.startswith("<button")
            or 'id="listener"' in tag
            or 'type="radio"' in tag
        )
        assert labelled, tag
    for role in (
        'role="status"',
        'role="alert"',
        'aria-keyshortcuts="N"',
        'lang="en"',
        "prefers-color-scheme: dark",
        ":focus-visible",
    ):
        assert role in PAGE
