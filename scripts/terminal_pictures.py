"""Draw the pictures of docs/terminal.md: help, a running job and its end, at 80 and 120 columns.

    python scripts/terminal_pictures.py [out=docs/images] [browser=/usr/bin/chromium]

Real commands run in a terminal of that size, in an empty folder; what they print is drawn by a
browser that needs no network. Takes some minutes.
"""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

ROOT = Path(__file__).resolve().parent.parent
WIDTHS = (80, 120)
HELP = ("prune", "--help")
RUN = (
    *("prune", "experiment=p2/fdnn_desk", "model.width=64", "model.depth=2", "training.epochs=6"),
    *("data.minutes=4", "data.valid_minutes=0.5", "data.test_minutes=0.5", "data.speakers=8"),
    *("data.valid_speakers=2", "data.test_speakers=2", "data.utterance_s=[1,2]"),
    *("data.train_mixtures=200", "data.valid_mixtures=8", "data.test_mixtures=4"),
    *("training.finetune_epochs=1", "pipeline.max_iterations=2", "pipeline.sensitivity_items=4"),
    *("runtime.force=true", "runtime.share=false"),
)
THEME = TerminalTheme(
    (20, 23, 28),
    (216, 222, 230),
    [(0, 0, 0), (239, 98, 98), (126, 200, 110), (226, 190, 90), (104, 160, 240), (200, 130, 220)]
    + [(90, 200, 210), (216, 222, 230)],
    [(140, 148, 160), (255, 120, 120), (150, 220, 130), (240, 210, 110), (130, 180, 255)]
    + [(220, 150, 240), (110, 220, 230), (255, 255, 255)],
)
_ERASE = re.compile(r"(?:\r?\x1b\[2K(?:\x1b\[1A)?)+")
_PAGE = """<!doctype html><meta charset="utf-8"><style>
body {{ margin: 0; padding: 18px; background: #dfe3e8; width: max-content }}
pre {{ margin: 0 0 18px; padding: 14px 18px; background: #14171c; color: #d8dee6;
  border-radius: 8px; font: 15px/1.36 "DejaVu Sans Mono", monospace }}
</style>{panes}"""


def main() -> None:
    """Draw all pictures."""
    given = dict(word.split("=", 1) for word in sys.argv[1:])
    out = Path(given.get("out", ROOT / "docs" / "images"))
    browser = given.get("browser", "/usr/bin/chromium")
    for width in WIDTHS:
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            told = typed(HELP, width, place)
            ran = typed(RUN, width, place)
            frames = frames_of(ran)
            panes = [told, frames[middle(frames)], frames[-1]]
            page = place / "page.html"
            titles = (HELP, RUN[:2], RUN[:2])
            bodies = [pane(text, words, width) for text, words in zip(panes, titles, strict=True)]
            page.write_text(_PAGE.format(panes="".join(bodies)), encoding="utf-8")
            shoot(browser, page, out / f"terminal-{width}.png", width)


def typed(words: tuple[str, ...], width: int, folder: Path) -> str:
    """Return what a command prints on a terminal of that many columns.

    Raises:
        SystemExit: The command failed.
    """
    reader, writer = pty.openpty()
    fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 60, width, 0, 0))
    blank = {
        name: each for name, each in os.environ.items() if name not in ("NO_COLOR", "COLUMNS")
    }
    program = Path(sys.executable).with_name("audioprune")
    process = subprocess.Popen(
        [str(program), *words],
        stdin=writer,
        stdout=writer,
        stderr=writer,
        cwd=folder,
        env={**blank, "TERM": "xterm-256color"},
    )
    os.close(writer)
    parts = []
    while part := _read(reader):
        parts.append(part)
    if process.wait():
        sys.exit(f"{' '.join(words)} failed:\n{b''.join(parts).decode()[-2000:]}")
    return b"".join(parts).decode().replace("\r\n", "\n")


def _read(reader: int) -> bytes:
    try:
        return os.read(reader, 65536)
    except OSError:  # the other side is closed
        return b""


def frames_of(text: str) -> list[str]:
    """Return what stood on the screen, one text for each time that it was drawn."""
    bare = re.sub(r"\x1b\[\?25[lh]", "", text)
    return [frame.strip("\n") for frame in _ERASE.split(bare) if frame.strip()]


def middle(frames: list[str]) -> int:
    """Return the place of a frame in which a network is trained again, with a bar."""
    running = [n for n, frame in enumerate(frames) if "▸" in frame and " left" in frame]
    later = [n for n in running if "▸ compress" in frames[n]] or running
    again = [n for n in later if "finetune" in frames[n]] or later
    return again[len(again) // 2]


def pane(text: str, words: tuple[str, ...], width: int) -> str:
    """Return a text with its colours as HTML, below the command."""
    console = Console(record=True, width=width, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(f"$ audioprune {' '.join(words)}\n{text}"), soft_wrap=True)
    return console.export_html(inline_styles=True, code_format="<pre>{code}</pre>", theme=THEME)


def shoot(browser: str, page: Path, picture: Path, width: int) -> None:
    """Let a browser draw a page, and cut off what is empty."""
    lines = page.read_text(encoding="utf-8").count("\n") + 6
    size = f"{round(9.05 * width) + 160},{21 * lines + 200}"
    subprocess.run(
        [
            *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
            *(f"--window-size={size}", f"--screenshot={picture}", page.as_uri()),
        ],
        check=True,
        capture_output=True,
    )
    drawn = np.asarray(Image.open(picture).convert("RGB")).astype(int)
    filled = np.abs(drawn - drawn[0, 0]).sum(axis=2) > 0
    bottom, right = (np.flatnonzero(filled.any(axis=axis)).max() + 19 for axis in (1, 0))
    Image.fromarray(drawn[:bottom, :right].astype(np.uint8)).save(picture, optimize=True)


if __name__ == "__main__":
    main()
