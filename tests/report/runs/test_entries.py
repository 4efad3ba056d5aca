"""Jobs joined to entries: failed jobs, own scales, rows of two corpora."""

from __future__ import annotations

from fake_runs import one_entry

from audioprune.report.runs.entries import entries
from audioprune.report.runs.entry import Entry
from audioprune.report.runs.job import load_jobs


def _entries(run) -> list[Entry]:
    return entries(load_jobs(run.folder.parent))


def test_failed_jobs_are_rows(make_run) -> None:
    make_run("a", seed=0).scores("compressed", 0.6, 1.5)
    make_run("b", seed=1).status("failed", "epoch 3: the loss is not finite")
    run = make_run("c", "", seed=2)
    (run.folder / "status.json").unlink()
    rows = [(entry.label, entry.status, entry.reason) for entry in _entries(run) if entry.status]
    assert rows[0] == ("FDNN", "FAILED", "epoch 3: the loss is not finite")
    assert rows[1][:2] == ("c", "UNFINISHED")


def test_a_row_has_the_scale_of_its_own_network(make_run) -> None:
    run = make_run("a", scale="desk; 20 mixtures; width 64").scores("uncompressed", 0.7, 2.0)
    run.scores("baseline", 0.65, 1.9, scale="desk; 20 mixtures; width 4")
    run = make_run("b", seed=1, scale="desk; 20 mixtures; width 64").scores(
        "baseline", 0.65, 1.9, scale="desk; 20 mixtures; width 5"
    )
    assert one_entry(_entries(run), "FDNN uncompressed").scale == "desk; 20 mixtures; width 64"
    assert (
        one_entry(_entries(run), "FDNN baseline").scale
        == "desk; 20 mixtures; width 4 | desk; 20 mixtures; width 5"
    )


def test_a_baseline_has_not_the_width_that_was_configured(make_run) -> None:
    for width in (64, 32):
        run = make_run(f"w{width}", model_config={"name": "fdnn", "width": width}).scores(
            "uncompressed", 0.6 + width / 1000, 2.0
        )
        run.scores("baseline", 0.5, 1.9, scale="desk; width 5")
    found = {(entry.variant, entry.config["model.width"]) for entry in _entries(run)}
    assert found == {("uncompressed", "64"), ("uncompressed", "32"), ("baseline", "5")}


def test_a_model_from_a_file_has_its_own_width(make_run) -> None:
    make_run("a", model_config={"name": "fdnn", "width": 8}, scale="desk; width 8").scores(
        "compressed", 0.6, 1.9
    )
    run = make_run(
        "b",
        pipeline="budget",
        model_config={"name": "fdnn", "width": 2048},
        checkpoint="runs/a",
        scale="desk; width 8",
    )
    run.scores("compressed", 0.5, 1.9)
    assert [entry.config["model.width"] for entry in _entries(run)] == ["8", "8"]


def test_rows_of_two_corpora_are_not_joined(make_run) -> None:
    for place, fingerprint in enumerate(("aa", "bb")):
        stamp = {"corpus": "speech", "corpus_fingerprint": fingerprint}
        run = (
            make_run(f"s{place}", seed=place)
            .scores("mixture", 0.5, 1.4, **stamp)
            .scores("compressed", 0.6, 1.5, **stamp)
        )
    found = _entries(run)
    assert [(entry.title, len(entry.seeds)) for entry in found] == [
        ("Mixture", 1),
        ("FDNN compressed", 1),
    ] * 2
    assert [entry.corpus.fingerprints for entry in found] == [("aa",)] * 2 + [("bb",)] * 2


def test_keys_of_another_corpus_make_no_columns(make_run) -> None:
    """Speech and scenes differ in every key of their data and tasks.

    What a row shows sets it apart from rows of its own corpus.
    """
    more = {"corpus": "voices", "corpus_fingerprint": "aaa"}
    for name, decay in (("a", 0.0), ("b", 0.1)):
        run = make_run(
            name, "fdnn", data={"name": "voices", "minutes": 2}, training={"decay": decay}
        )
        run.scores("uncompressed", 0.6, 1.5, **more)
    other = make_run(
        "c", "vgg", data={"name": "scenes", "clips": 3, "minutes": 9}, training={"decay": 0.7}
    )
    other.scores("uncompressed", 0.6, 1.5, corpus="scenes", corpus_fingerprint="bbb")
    found = {
        entry.model: set(entry.config)
        for entry in _entries(run)
        if entry.variant == "uncompressed"
    }
    assert found == {"fdnn": {"training.decay"}, "vgg": set()}
