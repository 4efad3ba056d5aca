"""Tables 3 and 4, optimisers, figures and claims of Chen: published numbers apart from ours, and honest verdicts."""

from __future__ import annotations

import pytest

from audioprune.errors import DataError
from audioprune.report import kinds, write_report
from audioprune.report.p4 import main_table, models_of, optimizer_table, size_table
from audioprune.report.p4_figures import figures_of, receptive_field, receptive_field_figure
from audioprune.report.p4_page import judge, write_figures
from audioprune.report.results import Request, load_jobs, read_reported
from audioprune.report.tables import to_markdown

SCALE = "desk; synthetic_scenes, 600 clips of 3 s, 10 classes; width 8"


@pytest.fixture(scope="module")
def reported():
    return read_reported(None, "p4")


@pytest.fixture
def network(make_run):
    """Write the run of one network: dense without sparsity, else pruned, trimmed and its groups."""

    def make(name, pipeline, accuracy, method="hspg", sparsity=None, seed=0, model="vgg", corpus="synthetic_scenes", lmbda=0.001,
             scale=SCALE, **config):  # fmt: skip
        layout = {"name": model} | ({"rho": config.pop("rho")} if "rho" in config else {})
        run = make_run(name, model, pipeline, seed, scale, data={"name": corpus}, pipeline_config=config, model_config=layout)
        for epoch, share in ((1, 0.0), (2, sparsity or 0.0)):
            numbers = {"f": 1.0 / epoch, "penalty": 0.2, "objective": 1.0 / epoch + 0.2, "group_sparsity": share, "first_stage": epoch == 1}
            run.row(key=f"train/epoch/{epoch:05d}", kind="epoch", epoch=epoch, **numbers)
        train = {"method": method, "lmbda": lmbda, "budget": 2.0, "reachable_share": 1.0, "f": 0.5, "norm_sum": 100.0, "seconds": 9.0}
        run.row(key="train", kind="train", group_sparsity=sparsity or 0.0, entry_sparsity=0.1, **train)
        for variant, params in (("uncompressed", 1000),) if sparsity is None else (("pruned", 1000), ("trimmed", 400)):
            row = {"key": f"{variant}/test", "kind": "score", "label": model.upper(), "variant": variant, "model": model}
            row |= {"metrics": {"accuracy": accuracy, "accuracy_macro": accuracy}, "n": 20, "noise": None, "snr_db": None}
            run.row(**row, condition="test", split="test", confusion=[[9, 1], [2, 8]], classes=["park", "tram"], scale=scale, seed=seed)
            more = {"macs_per_second": 2000.0 * params, "latency_ms_per_s": params / 1000}
            run.size(variant, params, params, **more)
        if sparsity is not None:
            groups = {"filter_sparsity": sparsity, "group_sparsity": sparsity, "removed_share": sparsity, "max_difference": 1e-7}
            layers = [{"name": "layers.0.conv.weight", "zero": 2, "filters": 4}]
            run.row(key="trim/groups", kind="groups", layers=layers, lmbda=lmbda, learning_rate=0.1, **groups)
            (run.folder / "groups.csv").write_text("set,unit,norm_before,norm_after\nlayers.0,0,1.5,0.0\nlayers.0,1,1.4,0.3\n")
        return run

    return make


@pytest.fixture
def jobs(network, make_run):
    for seed in (0, 1):
        network(f"base{seed}", "p4_baseline", 0.7 + 0.02 * seed, "sgd", seed=seed, lmbda=0.0)
        network(f"mid{seed}", "p4_reach", 0.8, sparsity=0.5, seed=seed, budget=2.0)
        network(f"far{seed}", "p4_reach", 0.6, sparsity=0.7, seed=seed, budget=3.0, lmbda=0.002)
    network("prox", "p4_proxsg", 0.75, "proxsg", sparsity=0.6)
    network("slides", "p4_literal", 0.65, sparsity=0.0, lmbda=1e-3)
    toy = make_run("toy", "", "toy", scale="toy")
    solved = (("ProxSG", "proxsg", 0.44, 0.0), ("HSPG", "hspg", 0.4389, 0.75), ("OBProxSG", "obproxsg", 0.48, 0.75))
    for name, method, objective, share in solved:
        numbers = {"objective": objective, "f": 0.25, "group_sparsity": share, "entry_sparsity": share, "seconds": 0.1, "lmbda": 0.05}
        toy.row(key=f"toy/0/{name}", kind="toy", name=name, method=method, seed=0, **numbers)
    return load_jobs(toy.folder.parent)


def test_published_cells_are_those_of_the_slides(reported) -> None:
    table = main_table((), reported, "table_3")
    rows = {row["name"]: row for row in table.rows}
    assert rows["Baseline"]["DenseNet:accuracy"].mean == pytest.approx(0.6348)
    assert rows["Baseline"]["DenseNet:accuracy"].std == pytest.approx(0.0496)
    assert rows["HSPG (lambda 1e-3)"]["ResNet:sparsity"].mean == pytest.approx(0.6938) and rows["RN1"]["VGG:accuracy"] == "-"
    assert rows["-"]["VGG:accuracy"] == "not run"
    four = {row["name"]: row for row in main_table((), reported, "table_4").rows}
    assert four["HSPG (lambda 1e-4)"]["VGG:sparsity"].mean == pytest.approx(0.0621) and four["DN1"]["DenseNet:accuracy"].mean == 0.7639
    rows = [row for key in ("table_3", "table_4") for row in reported[key]["rows"]]
    assert sum(name in row for row in rows for name in ("VGG", "DenseNet", "ResNet")) == 26


def test_ours_stand_apart_with_their_corpus(jobs, reported) -> None:
    table = main_table(jobs, reported, "table_3")
    ours = {row["name"]: row for row in table.rows if row["what"].startswith("ours")}
    assert ours["-"]["what"] == "ours, TUT 2017" and ours["-"]["VGG:accuracy"] == "not run"
    row = ours["HSPG, p4_reach (budget=2.0)"]
    assert row["what"] == "ours, embedded scenes" and row["VGG:sparsity"].mean == 0.5 and row["seeds"] == 2
    assert row["scale"].endswith("not a reproduction") and row["ResNet:accuracy"] == "-"
    assert ours["SGD, p4_baseline"]["VGG:accuracy"].mean == pytest.approx(0.71) and ours["SGD, p4_baseline"]["VGG:sparsity"] == "-"
    assert "neither corpus" in to_markdown(table)


def test_a_run_on_the_corpus_is_in_its_table_alone(network, reported) -> None:
    run = network("real", "p4_literal", 0.6, sparsity=0.1, corpus="tut2018", model="cp_resnet")
    jobs = load_jobs(run.folder)
    four = [row for row in main_table(jobs, reported, "table_4").rows if row["what"].startswith("ours")]
    assert [row["what"] for row in four] == ["ours, TUT 2018"] and four[0]["CP_RESNET:accuracy"].mean == 0.6
    three = [row for row in main_table(jobs, reported, "table_3").rows if row["what"].startswith("ours")]
    assert [row["what"] for row in three] == ["ours, TUT 2017"]


def test_sizes_before_and_after(jobs) -> None:
    rows = {row["title"]: row for row in size_table(jobs).rows}
    row = rows["VGG HSPG, p4_reach (budget=2.0)"]
    assert row["params_before"].mean == 1000 and row["params"].mean == 400 and row["macs"].mean == 8e5 and row["latency"].mean == 0.4
    assert rows["VGG SGD, p4_baseline"]["removed"] == "-"


def test_optimisers_in_numbers(jobs, reported) -> None:
    rows = {(row["problem"], row["name"]): row for row in optimizer_table(jobs, reported).rows}
    assert rows["toy", "HSPG"]["objective"].mean == 0.4389 and rows["toy", "HSPG"]["published"] == "#1 / #1 / Fast / Yes"
    # Every row of one network is judged with the lambda of p4_reach.
    assert rows["VGG", "SGD, p4_baseline"]["objective"].mean == pytest.approx(0.5 + 0.001 * 100)
    assert rows["VGG", "SGD, p4_baseline"]["lmbda"] == 0.001


def test_a_row_of_several_networks_names_the_scale_of_each(network, reported) -> None:
    network("vgg", "p4_baseline", 0.7, "sgd", scale=SCALE)
    network("vgg1", "p4_baseline", 0.7, "sgd", seed=1, scale=SCALE)
    run = network("dense", "p4_baseline", 0.6, "sgd", model="densenet121", scale=SCALE.replace("width 8", "width 16"))
    (row,) = [row for row in main_table(load_jobs(run.folder.parent), reported, "table_4").rows if row["name"] == "SGD, p4_baseline"]
    wide = SCALE.replace("width 8", "width 16")
    assert row["scale"] == f"VGG: {SCALE}, not a reproduction | DenseNet: {wide}, not a reproduction"
    assert row["seeds"] == "VGG: 2 | DenseNet: 1"


def test_every_state_of_admm_is_a_row(network, reported) -> None:
    run = network("admm", "p4_admm", 0.8, "admm", sparsity=0.5, lmbda=0.01)
    train = run_row(run, "train") | {"x_norm_sum": 150.0, "x_group_sparsity": 0.0, "x_entry_sparsity": 0.0}
    run.row(**train)
    run.row(key="finetune", kind="train", label="VGG", epochs=2, seconds=4.0)
    run.row(**run_row(run, "trimmed/test") | {"metrics": {"accuracy": 0.85, "accuracy_macro": 0.85}})
    rows = {row["state"]: row for row in optimizer_table(load_jobs(run.folder), reported).rows}
    assert list(rows) == ["dense x", "projected", "fine-tuned"]
    dense, projected, tuned = rows.values()
    assert dense["objective"].mean == pytest.approx(0.5 + 0.01 * 150) and dense["sparsity"].mean == 0 and dense["accuracy"] == "-"
    assert (projected["f"], projected["objective"]) == ("-", "-") and projected["sparsity"].mean == 0.5
    assert projected["accuracy"].mean == 0.8 and tuned["accuracy"].mean == 0.85 and tuned["seconds"].mean == 4
    assert tuned["sparsity"] == "-"
    (size,) = size_table(load_jobs(run.folder)).rows
    assert (size["budget"], size["reachable"]) == ("-", "-") and size["lmbda"].mean == 0.01


def test_rows_of_a_problem_share_their_lambda_without_p4_reach_too(network, reported) -> None:
    network("base", "p4_baseline", 0.7, "sgd", lmbda=0.0)
    run = network("prox", "p4_proxsg", 0.75, "proxsg", sparsity=0.6, lmbda=0.02)
    rows = optimizer_table(load_jobs(run.folder.parent), reported).rows
    assert [row["lmbda"] for row in rows] == [0.02, 0.02]


def run_row(run, key):
    """Return the last row of a run with a key."""
    return next(row for row in reversed(load_jobs(run.folder)[0].rows) if row["key"] == key)


def test_notes_speak_of_what_is_there(network, reported, tmp_path) -> None:
    run = network("real", "p4_obproxsg", 0.6, "obproxsg", sparsity=0.1, corpus="tut2018")
    jobs = load_jobs(run.folder)
    assert "Embedded scenes" not in to_markdown(main_table(jobs, reported, "table_4"))
    captions = {figure.png.stem: figure.caption for figure in figures_of(tmp_path, jobs)}
    assert "l1 norm" in captions["p4_epochs"] and "ADMM" not in captions["p4_epochs"] and "dotted" not in captions["p4_epochs"]
    assert "a * lambda" not in captions["p4_norms"]
    # The letters (a) and (b) are the paper's; our second panel is not its (b).
    assert "(a)" not in captions["p4_projection"] and "(b)" not in captions["p4_projection"]


def test_one_seed_is_the_smallest(network, tmp_path) -> None:
    network("seed10", "p4_reach", 0.6, sparsity=0.5, seed=10)
    run = network("seed2", "p4_reach", 0.6, sparsity=0.5, seed=2)
    (model,) = models_of(load_jobs(run.folder.parent))
    assert model.first_job.seed == 2


def test_claims_are_judged(jobs) -> None:
    found = {(claim.model, claim.claim.split(" (")[0]): claim for claim in judge(jobs)}
    verdicts = {key[1][:28]: claim.status for key, claim in found.items()}
    assert verdicts == {
        "A network trained by HSPG in": "held",
        "Larger lambda, higher group ": "held",
        "Higher group sparsity, highe": "did not hold",
        "HSPG finds more zero groups ": "did not hold",
        "The learning rate and lambda": "did not hold",
        "Structured pruning speeds th": "held",
        "The final objective of HSPG ": "held",
    }
    assert all(claim.status == "not measured" for claim in judge(())) and judge(())


def test_every_figure_is_drawn(jobs, tmp_path) -> None:
    drawn = figures_of(tmp_path / "out", jobs)
    assert [figure.png.stem for figure in drawn] == [
        "p4_accuracy_sparsity", "p4_accuracy_macs", "p4_epochs", "p4_layers", "p4_norms", "p4_confusion", "p4_projection",
    ]  # fmt: skip
    assert all(figure.png.stat().st_size > 5000 and figure.csv.stat().st_size > 20 and figure.alt for figure in drawn)
    assert "VGG,\"HSPG, p4_reach (budget=2.0)\",p4_reach,1,50,80" in drawn[0].csv.read_text()


@pytest.mark.parametrize(("rho", "field"), [(0, 23), (1, 31), (2, 39), (5, 87), (7, 135), (12, 295), (15, 391), (21, 583)])
def test_receptive_field_is_that_of_the_paper(rho, field) -> None:
    assert receptive_field(rho) == field


def test_accuracy_against_the_receptive_field(jobs, network, tmp_path) -> None:
    for rho, accuracy in ((9, 0.5), (1, 0.7)):
        for seed in (0, 1):
            network(f"cp{rho}_{seed}", "p4_baseline", accuracy + 0.02 * seed, "sgd", seed=seed, model="cp_resnet", rho=rho)
    network("cp_sparse", "p4_reach", 0.6, sparsity=0.5, model="cp_resnet", rho=1)
    found = models_of(load_jobs(jobs[0].folder.parent))
    figure = receptive_field_figure(tmp_path, found)
    lines = figure.csv.read_text().splitlines()
    assert lines[0].startswith("row,rho,receptive field (pixels),accuracy (%),deviation (points),seeds")
    assert [line.split(",")[2:5] for line in lines[1:4]] == [["1", "31", "71"], ["9", "199", "51"], ["1", "31", "60"]]
    assert lines[1].startswith('"SGD, p4_baseline",') and lines[3].startswith('"HSPG, p4_reach",') and "not a reproduction" in lines[1]
    assert figure.png.stat().st_size > 5000 and "rho 9: 199 pixels, 51.0 %" in figure.alt
    assert receptive_field_figure(tmp_path, [model for model in found if model.told != "model.rho=9"]) is None
    # The rho sweep draws its own figure; the others go on to show the kind of model with the most pipelines.
    drawn = {path.name: path for path in write_figures(Request(load_jobs(jobs[0].folder.parent), tmp_path / "out"))}
    assert "p4_receptive_field.png" in drawn and "VGG" in drawn["p4_confusion.csv"].read_text()


def test_all_kinds_write(jobs, tmp_path) -> None:
    runs = jobs[0].folder.parent
    for kind in ("p4", "p4_table3", "p4_table4", "p4_optimizers", "p4_figures", "p4_claims", "summary"):
        assert kind in kinds() and all(path.stat().st_size for path in write_report(runs, tmp_path / kind, kind))
    summary = (tmp_path / "summary" / "summary.md").read_text()
    assert "Accuracy (%)" in summary and "STOI" not in summary


def test_figures_need_runs(make_run, tmp_path) -> None:
    jobs = load_jobs(make_run("a").folder)
    with pytest.raises(DataError, match="scene classification"):
        write_figures(Request(jobs, tmp_path))
    assert models_of(jobs) == []
