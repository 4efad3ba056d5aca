"""Which jobs were measured on one corpus."""

from __future__ import annotations

import json

import pytest

from audioprune.report.runs.corpora import by_corpus
from audioprune.report.runs.job import load_jobs
from audioprune.report.runs.seeds import join_seeds

DATA = {"name": "speech", "root": "somewhere"}


def _run(make_run, name: str, fingerprint: str, seed: int = 0, **data):
    run = make_run(name, seed=seed, data={**DATA, **data})
    run.scores("compressed", 0.6, 1.5, corpus="speech", corpus_fingerprint=fingerprint)
    return run


def _jobs(run):
    return load_jobs(run.folder.parent)


def test_rows_name_their_corpus(make_run) -> None:
    run = _run(make_run, "a", "f" * 64)
    (job,) = _jobs(run)
    assert (job.corpus, job.fingerprint) == ("speech", "f" * 64)
    assert by_corpus([job])[0][0].title == "Corpus: speech (fingerprint ffffffffffff)"


def test_old_rows_go_by_the_fingerprint_of_the_run(make_run) -> None:
    run = make_run("a", data=DATA).scores("compressed", 0.6, 1.5)
    info = json.loads((run.folder / "run.json").read_text())
    (run.folder / "run.json").write_text(json.dumps({**info, "data_fingerprint": "abc"}))
    (job,) = _jobs(run)
    assert (job.corpus, job.fingerprint) == ("speech", "abc")


def test_seeds_on_different_corpora_are_not_joined(make_run) -> None:
    _run(make_run, "a", "aa", seed=0, seed_=1)
    run = _run(make_run, "b", "bb", seed=1, seed_=1)
    assert [len(group) for group in join_seeds(_jobs(run))] == [1, 1]
    run = _run(make_run, "c", "aa", seed=1, seed_=1)
    assert sorted(len(group) for group in join_seeds(_jobs(run))) == [1, 2]


@pytest.mark.parametrize(("seeds", "groups"), [((0, 1), 1), ((5, 6), 2)])
def test_a_corpus_that_follows_the_seed_is_one(
    make_run, seeds: tuple[int, int], groups: int
) -> None:
    for place, seed in enumerate(seeds):
        run = make_run(f"s{place}", seed=place, data={**DATA, "seed": seed})
        run.scores("compressed", 0.6, 1.5, corpus_fingerprint=f"f{place}")
    found = by_corpus(_jobs(run))
    assert len(found) == groups
    if groups == 1:
        assert (
            found[0][0].title == "Corpus: speech (drawn anew for each seed, fingerprints f0, f1)"
        )
        assert len(join_seeds(_jobs(run))) == 1


def test_two_corpora_of_one_seed_are_two_although_they_follow_it(make_run) -> None:
    for place, (seed, fingerprint) in enumerate([(0, "a"), (1, "b"), (1, "c")]):
        run = make_run(f"s{place}", seed=seed, data={**DATA, "seed": seed})
        run.scores("compressed", 0.6, 1.5, corpus_fingerprint=fingerprint)
    assert len(by_corpus(_jobs(run))) == 3


def test_corpora_without_a_fingerprint_are_told_apart_by_their_configuration(make_run) -> None:
    for place in range(2):
        run = make_run(f"s{place}", data={**DATA, "max_test_s": float(place)}).scores(
            "compressed", 0.6, 1.5
        )
    titles = [corpus.title for corpus, _ in by_corpus(_jobs(run))]
    assert titles == [
        "Corpus: speech (fingerprint not recorded)",
        "Corpus: speech (fingerprint not recorded, configuration 2)",
    ]


def test_a_job_that_failed_early_joins_the_first_corpus(make_run) -> None:
    _run(make_run, "a", "aa")
    run = make_run("z").status("failed", "no space")
    assert [len(members) for _, members in by_corpus(_jobs(run))] == [2]
