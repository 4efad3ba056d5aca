"""Joining rows over seeds: means, deviations, what is missing, and what is one row."""

from __future__ import annotations

import math

import pytest

from audioprune.report.runs.entries import entries, final
from audioprune.report.runs.entry import Entry, condition_text, mean_of
from audioprune.report.runs.job import load_jobs


def _entries(run) -> list[Entry]:
    return entries(load_jobs(run.folder.parent))


def _one(found: list[Entry], title: str) -> Entry:
    chosen = [entry for entry in found if entry.title == title]
    assert len(chosen) == 1, [entry.title for entry in found]
    return chosen[0]


def test_mean_and_sample_deviation_by_hand() -> None:
    value = mean_of([0.6, 0.7, 0.8, None, math.nan])
    assert (
        value.mean == pytest.approx(0.7) and value.std == pytest.approx(0.1) and value.seeds == 3
    )
    assert mean_of([0.5]).std is None
    assert mean_of([None], reason="silence") == mean_of([], reason="silence")
    assert mean_of([None]).reason == "not measured"


def test_scores_are_means_over_noises_then_seeds(make_run) -> None:
    for seed, stoi in ((0, 0.60), (1, 0.64)):
        run = make_run(f"s{seed}", seed=seed)
        run.scores("compressed", stoi, 1.5, noises=("babble",)).scores(
            "compressed", stoi + 0.1, 1.7, noises=("cafeteria",)
        )
    entry = _one(_entries(run), "FDNN compressed")
    value = entry.score("stoi", -5.0)
    # Seed means 0.65 and 0.69; deviation 0.04 / sqrt(2).
    assert (
        value.mean == pytest.approx(0.67)
        and value.std == pytest.approx(0.04 / math.sqrt(2))
        and value.seeds == 2
    )
    assert value.n == value.n_valid == 40
    assert entry.score("stoi", -5.0, "babble").mean == pytest.approx(0.62)
    assert entry.score("pesq_raw_nb").mean == pytest.approx(1.6 + 0.3)
    assert entry.snrs() == [-5.0, 0.0, 5.0] and entry.seeds == (0, 1)


def test_a_missing_noise_is_told_and_never_a_zero(make_run) -> None:
    run = make_run("a").scores("compressed", 0.6, 1.5, noises=("babble",))
    metrics = {"stoi": 0.7, "pesq_raw_nb": None}
    counts = {"n": 10, "n_valid": {"stoi": 10, "pesq_raw_nb": 0}}
    run.scores(
        "compressed",
        0,
        0,
        noises=("cafeteria",),
        snrs=(-5.0,),
        metrics=metrics,
        reason="no utterance found",
        **counts,
    )
    entry = _one(_entries(run), "FDNN compressed")
    value = entry.score("pesq_raw_nb", -5.0)
    assert value.mean == pytest.approx(1.5) and (value.n, value.n_valid) == (20, 10)
    assert value.reason == "mean without cafeteria, -5 dB: no utterance found"
    assert (
        entry.score("si_sdr", -5.0).mean is None
        and entry.score("si_sdr", -5.0).reason == "no utterance found"
    )
    assert entry.score("stoi", -5.0, "cafeteria").mean == pytest.approx(0.7)


def test_a_condition_that_one_seed_lacks_is_told(make_run) -> None:
    make_run("a", seed=0).scores("compressed", 0.6, 1.5)
    run = make_run("b", seed=1).scores("compressed", 0.6, 1.5, noises=("babble",))
    value = _one(_entries(run), "FDNN compressed").score("stoi", 0.0)
    assert value.seeds == 2 and value.reason == "mean without cafeteria, 0 dB: not evaluated"


def test_sizes_and_rates_by_hand(make_run) -> None:
    for seed, nonzero, paper in ((0, 200, 400), (1, 300, 500)):
        run = make_run(f"s{seed}", seed=seed)
        run.size("uncompressed").size("compressed", params=900, nonzero=nonzero, paper=paper)
    entry = _one(_entries(run), "FDNN compressed")
    assert entry.size("nonzero").mean == 250 and entry.size("nonzero").std == pytest.approx(
        100 / math.sqrt(2)
    )
    # The uncompressed model of the job has 4000 bytes, although the trimmed one would have 3600.
    assert entry.size("rate_paper").mean == pytest.approx((4000 / 400 + 4000 / 500) / 2)
    assert entry.size("rate_file").mean == pytest.approx((4000 / 500 + 4000 / 600) / 2)
    assert entry.size("bits_per_weight").mean == pytest.approx((8 * 400 / 200 + 8 * 500 / 300) / 2)
    assert entry.size("nothing").mean is None


def test_the_rate_of_a_job_without_uncompressed_goes_by_the_trained_parameters(make_run) -> None:
    run = make_run("a").size("compressed", params=900, paper=400, params_trained=2000)
    assert _one(_entries(run), "FDNN compressed").size("rate_paper").mean == pytest.approx(
        8000 / 400
    )


def test_the_mixture_is_one_row_for_all_models_on_the_same_data(make_run) -> None:
    make_run(
        "a", "fdnn", scale="desk; 20 mixtures; width 64", data={"name": "x", "seed": 0}
    ).scores("mixture", 0.5, 1.4)
    run = make_run(
        "b", "lstm", scale="desk; 20 mixtures; width 96", data={"name": "x", "seed": 0}
    ).scores("mixture", 0.5, 1.4)
    entry = _one(_entries(run), "Mixture")
    assert entry.scale == "desk; 20 mixtures"
    run = make_run("c", "lstm", data={"name": "x", "seed": 0}).scores("mixture", 0.9, 2.4)
    assert [
        entry.score("stoi", 0.0).mean for entry in _entries(run) if entry.variant == "mixture"
    ] == pytest.approx([0.6, 1.0])


def test_how_training_data_are_cut_makes_no_other_mixture(make_run) -> None:
    make_run("a", "fdnn", data={"name": "x", "segment_s": 3.0, "train_mixtures": 1200}).scores(
        "mixture", 0.5, 1.4
    )
    run = make_run(
        "b", "lstm", data={"name": "x", "segment_s": 2.0, "train_mixtures": 800}
    ).scores("mixture", 0.5, 1.4)
    _one(_entries(run), "Mixture")
    run = make_run("c", "lstm", data={"name": "x", "max_test_s": 2.0}).scores("mixture", 0.5, 1.4)
    assert len([entry for entry in _entries(run) if entry.variant == "mixture"]) == 2


def test_mixtures_of_partial_evaluations_are_completed(make_run) -> None:
    make_run("a").scores("mixture", 0.5, 1.4, noises=("babble",))
    run = make_run("b", pipeline_config={"k": 1}).scores(
        "mixture", 0.6, 1.4, noises=("cafeteria",)
    )
    assert _one(_entries(run), "Mixture").score("stoi", -5.0).mean == pytest.approx(0.55)


def test_equal_uncompressed_rows_of_a_sweep_are_one(make_run) -> None:
    for strength in (0.1, 0.2, 0.3):
        run = make_run(f"s{strength}", pipeline_config={"lambda_1": strength})
        run.scores("uncompressed", 0.7 if strength < 0.25 else 0.8, 2.0).scores(
            "compressed", 0.6, 1.9
        )
    found = _entries(run)
    whole = [entry for entry in found if entry.variant == "uncompressed"]
    assert [entry.config for entry in whole] == [
        {"pipeline.lambda_1": ""},
        {"pipeline.lambda_1": "0.3"},
    ]
    assert len(whole[0].jobs) == 2
    assert [
        entry.config["pipeline.lambda_1"] for entry in found if entry.variant == "compressed"
    ] == ["0.1", "0.2", "0.3"]


def test_iterations_are_told_by_the_repetition_in_the_key(make_run) -> None:
    run = make_run("a")
    for place in range(3):
        run.scores("pruned", 0.7 - 0.1 * place, 2.0, step=f"compress/{place}/score")
    found = _entries(run)
    assert [entry.iteration for entry in found] == [None, 1, 2, 3]
    assert [entry.title for entry in final(found)] == ["FDNN pruned"]
    assert final(found)[0].score("stoi", -5.0).mean == pytest.approx(0.5)


def test_a_final_state_is_not_replaced_by_an_iteration(make_run) -> None:
    run = (
        make_run("a")
        .scores("pruned", 0.5, 2.0, step="compress/0/score")
        .scores("pruned", 0.6, 2.0)
    )
    assert final(_entries(run))[0].score("stoi", -5.0).mean == pytest.approx(0.6)


def test_two_evaluations_of_one_variant_are_named_by_their_step(make_run) -> None:
    run = (
        make_run("a")
        .scores("pruned", 0.5, 2.0, step="before")
        .scores("pruned", 0.6, 2.0, step="after")
    )
    assert {entry.title for entry in _entries(run)} == {
        "FDNN pruned (before)",
        "FDNN pruned (after)",
    }


def test_failed_jobs_are_rows(make_run) -> None:
    make_run("a", seed=0).scores("compressed", 0.6, 1.5)
    make_run("b", seed=1).status("failed", "epoch 3: the loss is not finite")
    run = make_run("c", "", seed=2)
    (run.folder / "status.json").unlink()
    rows = [(entry.label, entry.status, entry.reason) for entry in _entries(run) if entry.status]
    assert rows[0] == ("FDNN", "FAILED", "epoch 3: the loss is not finite")
    assert rows[1][:2] == ("c", "UNFINISHED")


def test_validation_scores_stay_out(make_run) -> None:
    run = (
        make_run("a")
        .scores("compressed", 0.6, 1.5)
        .scores("compressed", 0.9, 3.0, step="valid", split="valid")
    )
    assert _one(_entries(run), "FDNN compressed").score("stoi", -5.0).mean == pytest.approx(0.6)


def test_conditions_in_words() -> None:
    assert condition_text(("babble", -5.0)) == "babble, -5 dB"
    assert condition_text(("", None)) == "all"


def test_a_row_has_the_scale_of_its_own_network(make_run) -> None:
    run = make_run("a", scale="desk; 20 mixtures; width 64").scores("uncompressed", 0.7, 2.0)
    run.scores("baseline", 0.65, 1.9, scale="desk; 20 mixtures; width 4")
    run = make_run("b", seed=1, scale="desk; 20 mixtures; width 64").scores(
        "baseline", 0.65, 1.9, scale="desk; 20 mixtures; width 5"
    )
    assert _one(_entries(run), "FDNN uncompressed").scale == "desk; 20 mixtures; width 64"
    assert (
        _one(_entries(run), "FDNN baseline").scale
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


def test_without_an_uncompressed_row_there_is_no_rate(make_run) -> None:
    run = (
        make_run("a")
        .scores("compressed", 0.6, 1.5)
        .size("compressed", params=1000, nonzero=10, paper=40)
    )
    entry = _one(_entries(run), "FDNN compressed")
    for name in ("rate_paper", "rate_file"):
        assert (
            entry.size(name).mean is None
            and entry.size(name).reason == "no uncompressed model was measured in this run"
        )


def test_a_model_that_came_pruned_is_not_called_uncompressed(make_run) -> None:
    run = (
        make_run("a", checkpoint="pruned.safetensors")
        .scores("uncompressed", 0.6, 1.5)
        .size("uncompressed", nonzero=233)
    )
    run.size("compressed", nonzero=100, paper=400)
    assert [entry.title for entry in _entries(run)] == ["FDNN as given", "FDNN compressed"]
    assert _one(_entries(run), "FDNN compressed").size("rate_paper").mean is None


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
    """Speech and scenes differ in every key of their data and tasks; what a row shows sets it apart from rows of its own corpus."""
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
