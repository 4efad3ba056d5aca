"""A whole session in a real browser, by keyboard alone.

It is skipped where Chromium, its driver or selenium is missing.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audioprune.listening.page import build_page
from audioprune.listening.ratings import read_ratings

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
CONDITIONS = ("reference", "noisy", "A", "anchor35")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-sync",
)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver")
    if not (CHROMIUM and DRIVER):
        pytest.skip("needs Chromium and its driver")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--window-size=900,900"):
        options.add_argument(flag)
    options.add_experimental_option(
        "prefs", {"download.default_directory": str(tmp_path / "downloads")}
    )
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


def _wait(what: Callable[[], Any], seconds: float = 10.0) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = what()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("waited in vain")


def test_a_session_by_keyboard(browser: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    trials = {
        trial: {name: rng.integers(-900, 900, 14400).astype(np.int16) for name in CONDITIONS}
        for trial in ("t-1", "t-2")
    }
    (tmp_path / "test.html").write_text(
        build_page("mytest", "A test", trials, 0), encoding="utf-8"
    )

    def text(name: str) -> str:
        return browser.find_element("id", name).text

    def ready(progress: str) -> None:
        _wait(lambda: text("progress") == progress and "Loading" not in text("status"))

    def press(*keys: str) -> None:
        browser.switch_to.active_element.send_keys(*keys)

    browser.get(f"file://{tmp_path / 'test.html'}")
    browser.find_element("id", "listener").send_keys("ann", "\ue007")
    ready("Practice")
    press("n")
    ready("Trial 1 of 2")
    press("n")
    assert text("status") == "Still to hear: 1, 2, 3, 4; still to rate: 1, 2, 3, 4."
    labels = browser.find_element("id", "trial").get_attribute("outerHTML")
    assert not any(name in labels for name in ("noisy", "anchor35", '"A"'))
    for trial in (1, 2):
        ready(f"Trial {trial} of 2")
        for place in range(4):
            press(str(place + 1))
            button = f"document.getElementById('play-{place}')"
            heard = f"return {button}.getAttribute('aria-label').endsWith(', heard')"
            _wait(lambda heard=heard: browser.execute_script(heard))
            press(*["\ue014"] * (place + trial))  # arrow right
        if trial == 1:
            browser.refresh()  # a reload loses nothing
            ready("Trial 1 of 2")
            assert [each.text for each in browser.find_elements("tag name", "output")] == [
                "51 fair",
                "52 fair",
                "53 fair",
                "54 fair",
            ]
            browser.find_element("tag name", "body").send_keys("r")
        press("n")
    kept = json.loads(browser.execute_script("return Object.values(localStorage)[0]"))
    assert sorted(sorted(each["scores"].values()) for each in kept["trials"].values()) == [
        [51, 52, 53, 54],
        [52, 53, 54, 55],
    ]
    _wait(lambda: text("progress") == "All trials done")
    press("\ue007")
    saved = _wait(lambda: list((tmp_path / "downloads").glob("mytest-ann-*.csv")))
    sheet = read_ratings(saved)
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
    assert [
        entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "ERROR")
    ] == []
