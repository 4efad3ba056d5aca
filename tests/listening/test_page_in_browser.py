"""A whole session in a real browser, by keyboard alone.

It is skipped where Chromium or Playwright is missing.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audioprune.listening.page import build_page
from audioprune.listening.ratings import read_ratings

pytestmark = pytest.mark.slow
playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
CONDITIONS = ("reference", "noisy", "A", "anchor35")
HEARD = re.compile(", heard$")
FLAGS = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]


@pytest.fixture
def page() -> Iterator[Any]:
    if not CHROMIUM:
        pytest.skip("needs Chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        wrong: list[str] = []
        found = browser.new_page(viewport={"width": 900, "height": 900})
        found.on("pageerror", lambda error: wrong.append(str(error)))
        found.on("console", lambda told: wrong.append(told.text) if told.type == "error" else None)
        yield found
        browser.close()
    assert wrong == []


def test_a_session_by_keyboard(page: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    trials = {
        trial: {name: rng.integers(-900, 900, 14400).astype(np.int16) for name in CONDITIONS}
        for trial in ("t-1", "t-2")
    }
    (tmp_path / "test.html").write_text(
        build_page("mytest", "A test", trials, 0), encoding="utf-8"
    )

    def ready(progress: str) -> None:
        see(page.locator("#progress")).to_have_text(progress)
        see(page.locator("#status")).not_to_contain_text("Loading")

    # The page runs no text, so that nothing can wait for an expression.
    see, press = playwright.expect, page.keyboard.press
    pause = page.locator("#pause")
    page.goto((tmp_path / "test.html").as_uri())
    page.locator("#listener").fill("ann")
    press("Enter")
    ready("Practice")
    press("n")
    ready("Trial 1 of 2")
    press("n")
    told = page.locator("#status").inner_text()
    assert told == "Still to hear: 1, 2, 3, 4; still to rate: 1, 2, 3, 4."
    labels = page.locator("#trial").evaluate("(each) => each.outerHTML")
    assert not any(name in labels for name in ("noisy", "anchor35", '"A"'))
    for trial in (1, 2):
        ready(f"Trial {trial} of 2")
        for place in range(4):
            press(str(place + 1))
            see(page.locator(f"#play-{place}")).to_have_attribute("aria-label", HEARD)
            for _ in range(place + trial):
                press("ArrowRight")
        if trial == 1:
            page.reload()  # a reload loses nothing
            ready("Trial 1 of 2")
            assert page.locator("output").all_inner_texts() == [
                "51 fair",
                "52 fair",
                "53 fair",
                "54 fair",
            ]
            press("r")
            see(pause).to_have_text("Pause")
            page.wait_for_timeout(400)  # 0.3 s of sound go on and on
            assert pause.inner_text() == "Pause"
            press("l")
            see(pause).to_have_text("Play")  # without the loop it comes to an end
            press("l")
            assert page.locator("#position").input_value() == "0"
        press("n")
    kept = json.loads(page.evaluate("Object.values(localStorage)[0]"))
    assert sorted(sorted(each["scores"].values()) for each in kept["trials"].values()) == [
        [51, 52, 53, 54],
        [52, 53, 54, 55],
    ]
    ready("All trials done")
    with page.expect_download() as waited:
        press("Enter")
    name = waited.value.suggested_filename
    assert name.startswith("mytest-ann-") and name.endswith(".csv")
    waited.value.save_as(tmp_path / name)
    sheet = read_ratings([tmp_path / name])
    assert (
        not sheet.damaged
        and {rating.test for rating in sheet.ratings} == {"mytest"}
        and len(sheet.ratings) == 8
    )
    for name, each in kept["trials"].items():
        own = {rating.condition: rating.score for rating in sheet.ratings if rating.item == name}
        assert own == {
            condition: each["scores"][str(place)] for place, condition in enumerate(CONDITIONS)
        }
