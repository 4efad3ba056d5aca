"""The page: well-formed, self-contained, accessible, the same bytes again."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from fake_runs import SCALE, FakeRun, undraw

from audioprune.report import write_report
from audioprune.report.page import Section, write_page
from audioprune.report.tables import Column, Table

VOID = {"meta", "img", "link", "br", "hr", "input"}


class _Checker(HTMLParser):
    """Counts tags, collects attributes that load something, fails on tags that do not close."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        self.text.append(data)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


def _checked(path: Path) -> _Checker:
    checker = _Checker()
    checker.feed(path.read_text(encoding="utf-8"))
    checker.close()
    assert checker.open == []
    return checker


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A summary of two runs, written twice."""
    base = tmp_path_factory.mktemp("page")
    for seed in (0, 1):
        config = {"pipeline": {"name": "p2_unstructured", "lambda_1": 1.0}}
        run = FakeRun(
            base / "runs" / f"fdnn-{seed}", "fdnn", "p2_unstructured", seed, SCALE, config
        )
        run.scores("mixture", 0.55, 1.4).scores("uncompressed", 0.7, 2.0).size("uncompressed")
        run.scores("compressed", 0.69, 1.95, n_valid={"stoi": 10, "pesq_raw_nb": 8})
        run.size("compressed", nonzero=300, paper=500).iterations(0.5, 0.3)
    run.sensitivity(1, {"a.weight": 0.2}).audio("babble_-5dB", "spk<1>").audio(
        "cafeteria_-5dB", "spk<1>"
    )
    run.row(
        key="x",
        kind="audio",
        condition="babble_-5dB",
        id="spk<1>",
        variant="compressed",
        metrics={"stoi": 0.61, "pesq_raw_nb": 1.5},
    )
    failed = FakeRun(base / "runs" / "lstm", "lstm", "p2_unstructured", 0, SCALE, {})
    failed.status("failed", "<script>alert(1)</script>")
    with pytest.MonkeyPatch.context() as patch:
        undraw(patch)
        first = write_report(base / "runs", base / "one", claims=["p2"])
        second = write_report(base / "runs", base / "two", claims=["p2"])
    return first, second


def test_the_page_is_well_formed_and_needs_no_network(pages) -> None:
    path = next(file for file in pages[0] if file.name == "report.html")
    page = _checked(path)
    text = path.read_text(encoding="utf-8")
    bare = re.sub(r"base64,[A-Za-z0-9+/=]+|<script>.*?</script>", "", text, flags=re.DOTALL)
    addresses = set(re.findall(r"(?:https?:)?//[a-z][^\"'\s<]*", bare))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    policy = next(attrs for attrs in page.of("meta") if "http-equiv" in attrs)["content"]
    assert policy.startswith("default-src 'none'") and "http" not in policy
    for tag, attrs in page.tags:
        for name in ("src", "href", "data", "action", "poster", "srcset"):
            value = attrs.get(name)
            assert value is None or value.startswith(("data:", "#")), (tag, value)
    assert "@import" not in bare and "url(http" not in bare


def test_the_page_can_be_used_without_seeing_it(pages) -> None:
    page = _checked(next(file for file in pages[0] if file.name == "report.html"))
    assert page.of("html")[0]["lang"] == "en" and page.of("title") and len(page.of("h1")) == 1
    charts = [attrs for attrs in page.of("div") if attrs.get("class") == "chart-still"]
    assert len(charts) == len(page.of("figure")) == len(page.of("figcaption")) >= 3
    assert all(attrs["role"] == "img" and attrs["aria-label"] for attrs in charts)
    tables = page.of("table")
    assert len(page.of("caption")) == sum(
        attrs.get("class") not in ("listen", "bars costs") for attrs in tables
    )
    # Two items of four versions; both have one reference and one input, each stored once.
    assert len([attrs for attrs in page.of("tr") if "data-clip" in attrs]) == 8
    assert all(attrs.get("aria-label") for attrs in page.of("audio"))
    assert len(page.of("audio")) == 4
    assert all(attrs.get("scope") in ("row", "col") for attrs in page.of("th"))
    targets = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    assert {attrs["href"][1:] for attrs in page.of("a")} <= targets
    assert {"color-scheme"} <= {attrs.get("name") for attrs in page.of("meta")}


def test_the_page_tells_failures_scores_and_claims(pages) -> None:
    page = _checked(next(file for file in pages[0] if file.name == "report.html"))
    text = " ".join(page.text)
    assert "LSTM FAILED" in text and "<script>alert(1)</script>" in text and "spk<1>" in text
    # Its own four, the library of charts, and what the charts show, which no browser runs.
    scripts = [attrs for attrs in page.of("script") if attrs.get("type") != "application/json"]
    assert len(scripts) == 5
    assert "two seeds: not judged" in text
    for words in (
        "61.00",
        "32 of 40 files valid",
        "3 runs, 1 of them not finished; 2 seeds",
        "not a reproduction",
    ):
        assert words in text, words


def test_the_same_runs_give_the_same_bytes(pages) -> None:
    first, second = pages
    assert [file.name for file in first] == [file.name for file in second] and len(first) > 10
    assert all(
        one.read_bytes() == other.read_bytes() for one, other in zip(first, second, strict=True)
    )
    assert first[0].name == "summary.md" and all(file.is_file() for file in first)


def test_empty_sections_are_left_out(tmp_path) -> None:
    table = Table("t", "Some & more", (Column("a", "A"),), ({"a": "<b>"},), ("note",))
    path = write_page(
        tmp_path / "p.html",
        "T & U",
        "lead",
        [Section("Nothing"), Section("Folded", (table,), folded=True)],
    )
    page = _checked(path)
    assert len(page.of("h2")) == 1 and len(page.of("details")) == 1 and "<b>" in "".join(page.text)
