"""Make the pictures of the report page that the documentation shows.

    python scripts/report_screenshots.py [folder]

It runs `experiment=p2/fdnn_demo` at a size of about two minutes of one core, writes the report,
and takes pictures at 1280 and 390 pixels, light and dark, with the system's Chromium. A run that
is there already is not made again. It needs the extra `browser`.
"""

from __future__ import annotations

import base64
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
MOST_BYTES = 400_000
RUN = (
    "prune experiment=p2/fdnn_demo pipeline=p2_unstructured pipeline.max_iterations=2 "
    "pipeline.alpha_1_relative=0.03 pipeline.alpha_2_relative=0.003 model.width=96 "
    "training.epochs=6 training.finetune_epochs=1 data.minutes=6 data.speakers=12 "
    "data.train_mixtures=240 data.test_mixtures=5 scoring.audio_items=5"
)
FLAGS = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
AS_WEBP = """async (png) => {
  const image = new Image();
  image.src = "data:image/png;base64," + png;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = image.width;
  canvas.height = image.height;
  canvas.getContext("2d").drawImage(image, 0, 0);
  return canvas.toDataURL("image/webp", 0.82).split(",")[1];
}"""


def main(folder: Path) -> None:
    """Make run, report and pictures."""
    command = [str(Path(sys.executable).with_name("audioprune"))]
    subprocess.run([*command, *RUN.split(), f"runtime.folder={folder / 'runs'}"], check=True)
    report = folder / "report"
    subprocess.run([*command, "report", f"runs={folder / 'runs'}", f"out={report}"], check=True)
    page = (report / "report.html").resolve()
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        written = [
            picture(browser, page, width, scheme)
            for width in (1280, 390)
            for scheme in ("light", "dark")
        ]
        browser.close()
    total = sum(path.stat().st_size for path in written)
    print(f"{page.stat().st_size} bytes of page, {total} bytes of {len(written)} pictures")
    if total > MOST_BYTES:
        sys.exit(f"expected at most {MOST_BYTES} bytes of pictures, got {total}")


def picture(browser: Any, page: Path, width: int, scheme: str) -> Path:
    """Take one picture: from the top where it is light, of what can be opened where it is dark."""
    height = 1500 if width > 800 else 1700
    view = {"width": width, "height": height}
    context = browser.new_context(viewport=view, color_scheme=scheme, reduced_motion="reduce")
    tab = context.new_page()
    tab.goto(page.as_uri())
    tab.wait_for_function("document.querySelectorAll('.chart-live svg').length > 0")
    if scheme == "dark":
        (show_player if width > 800 else show_row)(tab)
    png = base64.b64encode(tab.screenshot()).decode("ascii")
    path = IMAGES / f"report-{width}-{scheme}.webp"
    path.write_bytes(base64.b64decode(context.new_page().evaluate(AS_WEBP, png)))
    context.close()
    return path


def show_row(tab: Any) -> None:
    """Open the row of the compressed model."""
    tab.locator(".ways .opens").first.click()
    tab.locator("#models").evaluate("(each) => each.scrollIntoView()")
    tab.wait_for_timeout(200)


def show_player(tab: Any) -> None:
    """Let the player play, switch the version, and stop."""
    tab.locator(".player").scroll_into_view_if_needed()
    tab.locator(".player .play").click()
    tab.wait_for_timeout(1500)
    tab.keyboard.press("4")
    tab.wait_for_timeout(200)
    tab.locator(".player .play").click()
    tab.locator(".player").evaluate("(each) => each.scrollIntoView()")
    tab.wait_for_timeout(200)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "reports/screenshots"))
