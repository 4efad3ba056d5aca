"""The page in real browsers: what a person does with it, by mouse and by keyboard.

Skipped where Playwright or Chromium is missing.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser_runs import EVIL, make_page

pytestmark = pytest.mark.slow
playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")
FLAGS = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_page(tmp_path_factory.mktemp("browser"))


@pytest.fixture(scope="module")
def live_pages(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three reports of runs that go on: the first, one after a change, and the last."""
    folder = tmp_path_factory.mktemp("live")
    kept = []
    for place, live in enumerate((True, True, False)):
        if place == 1:
            status = folder / "runs" / "failed" / "status.json"
            status.write_text(status.read_text().replace("failed", "interrupted", 1))
        make_page(folder, live)
        kept.append(folder / f"report-{place}")
        shutil.copytree(folder / "report", kept[-1])
    return kept


# All pages are made before the driver starts: both keep loops of their own in this process.
@pytest.fixture(scope="module")
def driver(page_file: Path, live_pages: list[Path]) -> Iterator[Any]:
    with playwright.sync_playwright() as found:
        yield found


@pytest.fixture(scope="module")
def browser(driver: Any) -> Iterator[Any]:
    if not CHROMIUM:
        pytest.skip("needs Chromium")
    found = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
    yield found
    found.close()


class Seen:
    """A page that is open, and what went wrong with it."""

    def __init__(self, browser: Any, path: Path, **options: Any) -> None:
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.wrong: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url[:60]))
        self.page.goto(path.as_uri())

    def _console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.wrong.append(message.text)

    def names(self, table: int = 0) -> list[str]:
        """Return the names of the models that are shown, from above."""
        rows = self.page.locator("table.sortable").nth(table).locator("tr.model:visible")
        return [row.get_attribute("data-name") for row in rows.all()]

    def close(self) -> None:
        """Close it; nothing may have gone wrong, and nothing but the page been asked for."""
        self.context.close()
        assert self.wrong == []
        outside = [url for url in self.asked if not url.startswith(("file:", "data:"))]
        assert outside == [] and sum(url.startswith("file:") for url in self.asked) == 1


@pytest.fixture
def seen(browser: Any, page_file: Path) -> Iterator[Seen]:
    found = Seen(browser, page_file, viewport={"width": 1280, "height": 900})
    yield found
    found.close()


def test_the_table_is_sorted_and_filtered(seen: Seen) -> None:
    page = seen.page
    table = page.locator("table.sortable").first
    files = table.locator("thead th").nth(5)
    assert files.inner_text().startswith("File")
    files.locator("button").click()
    assert files.get_attribute("aria-sort") == "ascending"
    rising = seen.names()
    assert rising[0] == "FDNN compressed" and rising[-2:] == ["Unprocessed input", "DENSE FAILED"]
    files.locator("button").press("Enter")
    assert files.get_attribute("aria-sort") == "descending"
    assert seen.names()[-3] == "FDNN compressed"  # what has no value stays last
    page.get_by_label("Show only").fill("lstm COMP")
    assert seen.names() == ["LSTM uncompressed", "LSTM compressed"]
    assert "2 of 8 rows" in page.locator("#shown").inner_text()
    page.get_by_label("Show only").fill("")
    page.get_by_label("without models that failed").check()
    assert "DENSE FAILED" not in seen.names() and len(seen.names()) == 6


def test_a_row_opens_to_its_costs_by_mouse_and_keyboard(seen: Seen) -> None:
    page = seen.page
    row = page.locator("tr.model", has_text="LSTM compressed")
    more = page.locator(f"#{row.get_attribute('id')}-more")
    assert not more.is_visible()
    row.locator("button.name").press("Enter")
    assert more.is_visible() and "The written file" in more.inner_text()
    assert row.locator("button.name").get_attribute("aria-expanded") == "true"
    row.locator("button.name").click()
    assert not more.is_visible()
    page.locator(".verdict", has_text="LSTM").get_by_text("All its costs").click()
    assert more.is_visible() and "chosen" in row.get_attribute("class")


def test_a_dot_of_a_chart_opens_its_row(seen: Seen) -> None:
    page = seen.page
    dots = page.locator(".chart-live .mark-symbol path[aria-label*='FDNN compressed']")
    dots.first.wait_for(state="attached")
    dots.first.click(force=True)
    row = page.locator(".sortable tr.model", has_text="FDNN compressed")
    assert "chosen" in row.get_attribute("class")
    assert page.locator(f"#{row.get_attribute('id')}-more").is_visible()


def _state(page: Any) -> dict[str, Any]:
    return page.evaluate(
        "window.audiopruneState.find((each) => each.name === 'players').save()[0]"
    )


def _press(page: Any, key: str) -> str:
    page.keyboard.press(key)
    page.wait_for_timeout(80)
    return page.locator(".item:visible button[aria-pressed='true']").inner_text()


def test_versions_switch_at_the_same_position_by_keyboard(seen: Seen) -> None:
    page = seen.page
    player = page.locator(".player")
    assert [each.inner_text() for each in player.locator(".pick option").all()] == [
        "babble, -5 dB: bad (worst of 4 kept)",
        "babble, -5 dB: middling (median of 4 kept)",
        "babble, -5 dB: good (best of 4 kept)",
    ]
    player.locator(".play").focus()
    page.keyboard.press("Space")
    page.wait_for_function("document.querySelector('.play span').textContent === 'Pause'")
    before = _state(page)
    assert before["item"] == 0 and before["active"] == 0
    assert "Input" in _press(page, "2") and "FDNN compressed" in _press(page, "4")
    # Two seconds of sound in half a second are heard on and on: it never began anew.
    assert page.evaluate("document.querySelector('.play span').textContent") == "Pause"
    page.wait_for_timeout(100)
    scores = player.locator(".item:visible tr.version").nth(3).inner_text()
    assert "20.00" in scores
    page.keyboard.press("Space")
    paused = page.locator(".time").inner_text()
    page.wait_for_timeout(150)
    assert page.locator(".time").inner_text() == paused
    at = float(page.locator(".seek").input_value())
    _press(page, "1")  # plays on from where it was
    page.keyboard.press("Space")
    moved = (float(page.locator(".seek").input_value()) - at) % 0.5
    assert 0 < moved < 0.45


def test_a_blind_comparison_counts_right_answers(seen: Seen) -> None:
    page = seen.page
    page.locator(".hear-x").click()
    page.wait_for_function("document.querySelector('.play span').textContent === 'Pause'")
    assert page.locator(".item:visible button[aria-pressed='true']").count() == 0
    assert page.locator(".hear-x").get_attribute("aria-pressed") == "true"
    page.locator(".x-is-a").click()
    told = page.locator(".guesses").inner_text()
    assert re.match(r"(Right: X was A. 1|Wrong: X was B. 0) of 1 right; guessing", told), told
    page.locator(".x-is-b").click()
    assert page.locator(".guesses").inner_text() == "Hear X first."


def test_the_spectrogram_is_drawn_and_said_under_the_mouse(seen: Seen) -> None:
    page = seen.page
    canvas = page.locator("canvas.levels")
    canvas.scroll_into_view_if_needed()
    page.wait_for_function("document.querySelector('.top').textContent === '8 kHz'")
    colors = page.evaluate(
        "(() => { const c = document.querySelector('canvas.levels'); const d = c.getContext('2d')"
        ".getImageData(0, 0, c.width, c.height).data; const s = new Set();"
        "for (let i = 0; i < d.length; i += 400) { s.add(d[i]); } return s.size; })()"
    )
    assert colors > 20
    canvas.hover(position={"x": 300, "y": 100})
    assert re.match(r"0\.\d+ s, [34]\.\d+ kHz, -\d+ dB", page.locator(".under").inner_text())


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_its_width_and_axe_finds_nothing_serious(
    browser: Any, page_file: Path, width: int, scheme: str
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    found = Seen(browser, page_file, viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = found.page
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator(".verdict .opens").first.click()
    for summary in page.locator("details > summary:visible").all():
        summary.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    first = page.locator("table.sortable .pinned").first
    left = first.bounding_box()["x"]
    page.locator(".models .wide").first.evaluate("(each) => { each.scrollLeft = 300; }")
    assert first.bounding_box()["x"] == pytest.approx(left, abs=1)
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(20, 24, 29)" if scheme == "dark" else "rgb(255, 255, 255)")
    # The policy of the page lets no script in but its own; the check needs one.
    wrong = axe.run(page).response["violations"]
    bad = [
        (each["id"], each["nodes"][0]["html"][:200], each["nodes"][0]["failureSummary"])
        for each in wrong
        if each["impact"] in ("serious", "critical")
    ]
    assert bad == []
    found.close()


def test_names_that_try_to_break_it_are_text(seen: Seen) -> None:
    page = seen.page
    assert page.evaluate("window.hacked") is None
    assert page.locator("img[src='x']").count() == 0
    shown = page.locator("body").inner_text()
    assert "window.hacked=1" in shown and "onerror=hacked=1" in shown and "␛[31m" in shown
    assert "\x1b" not in page.content()
    name = page.locator("tr.model", has_text="window.hacked").first.get_attribute("data-name")
    assert EVIL.upper().split("\x1b")[0] in name.upper()


def test_commands_are_copied(browser: Any, page_file: Path) -> None:
    found = Seen(browser, page_file, permissions=["clipboard-read", "clipboard-write"])
    button = found.page.locator("#repeat ~ .command .copy").first
    button.click()
    found.page.wait_for_function("document.querySelector('.copy').textContent !== 'Copy'")
    assert button.inner_text() == "Copied"
    assert (
        found.page.evaluate("navigator.clipboard.readText()")
        == "audioprune prune model=fdnn seed=0"
    )
    found.close()


def _appear(pages: Path, folder: Path) -> Path:
    """Put a page where another was, as writing it does: the page first, then its version."""
    path, version = folder / "report.html", folder / "report.version.js"
    shutil.copy(pages / path.name, path.with_suffix(".new"))
    path.with_suffix(".new").replace(path)
    version.unlink(missing_ok=True)
    if (pages / version.name).exists():
        shutil.copy(pages / version.name, version)
    return path


def test_a_live_page_loads_itself_again_and_keeps_its_place(
    browser: Any, live_pages: list[Path], tmp_path: Path
) -> None:
    first, second, last = live_pages
    path = _appear(first, tmp_path)
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(path.as_uri())
    assert page.locator(".live").is_visible()
    page.get_by_label("Show only").fill("lstm")
    page.locator(".sortable tr.model", has_text="LSTM compressed").locator("button.name").click()
    page.evaluate("window.scrollTo({top: 900, behavior: 'instant'})")
    page.evaluate("window.old = true")
    _appear(second, tmp_path)
    page.wait_for_function("window.old === undefined", timeout=20000)
    page.wait_for_function("document.querySelector('#filter').value === 'lstm'")
    assert page.locator("tr.more:visible").count() == 1
    assert abs(page.evaluate("window.scrollY") - 900) < 60
    page.evaluate("window.old = true")
    _appear(last, tmp_path)
    page.wait_for_function("window.old === undefined", timeout=20000)
    assert not page.locator(".live").is_visible()
    page.evaluate("window.old = true")
    page.wait_for_timeout(5000)
    assert page.evaluate("window.old") is True  # and no further reload
    context.close()


def test_without_scripts_everything_can_be_read_and_heard(browser: Any, page_file: Path) -> None:
    found = Seen(browser, page_file, java_script_enabled=False)
    page = found.page
    assert page.locator("audio").first.is_visible()
    assert page.locator("tr.more").first.is_visible()
    assert not page.locator(".play").is_visible()
    found.close()


def test_it_works_in_firefox(driver: Any, page_file: Path) -> None:
    if not FIREFOX:
        pytest.skip("needs Firefox")
    try:
        launched = {"executable_path": FIREFOX, "channel": "moz-firefox", "timeout": 40000}
        browser = driver.firefox.launch(**launched)
        # An older Firefox refuses to emulate what users prefer, which every page begins with.
        browser.new_context().close()
    except playwright.Error as error:
        pytest.skip(f"Playwright drives no such Firefox: {str(error).splitlines()[0]}")
    found = Seen(browser, page_file)
    page = found.page
    page.locator("table.sortable thead button").nth(5).click()
    assert found.names()[0] == "FDNN compressed"
    page.locator(".play").click()
    page.wait_for_function("document.querySelector('.play span').textContent === 'Pause'")
    found.close()
    browser.close()
