"""The registry of metrics and the score of one pair."""

import subprocess
import sys

import numpy as np
import pytest

from audioprune.errors import ConfigError
from audioprune.metrics import LOWER_IS_BETTER, METRICS, Score, check_metrics, measure
from audioprune.metrics.scorer import SLOW_METRICS
from audioprune.schema import classes


def test_measure_gives_a_value_or_a_reason():
    x = np.random.default_rng(0).standard_normal(1600)
    assert measure("l1", x, x + 1, 16000) == Score(pytest.approx(1.0), "")
    assert measure("si_sdr", x, 0 * x, 16000) == Score(None, "the estimate is silent")


def test_names_are_checked():
    assert check_metrics(["stoi", "l1"]) == ("stoi", "l1")
    with pytest.raises(ConfigError, match="unknown metric 'pesk_nb'; closest: pesq_nb"):
        measure("pesk_nb", np.ones(9), np.ones(9), 16000)
    for bad in ([], ["l1", "l1"]):
        with pytest.raises(ConfigError, match="one or more different metrics"):
            check_metrics(bad)


def test_all_names():
    assert list(METRICS)[:6] == ["stoi", "estoi", "pesq_raw_nb", "pesq_nb", "pesq_wb", "si_sdr"]


def test_scoring_imports_no_torch():
    code = "import sys, audioprune.metrics.scorer; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_configurations_know_every_metric():
    monitor = classes()["TrainingConfig"].__dataclass_fields__["monitor"]
    others = {"loss", "accuracy", "accuracy_macro"}
    assert set(monitor.metadata["options"]) == others | set(METRICS)


def test_distances_are_zero_for_equal_signals_and_grow():
    x = np.random.default_rng(0).standard_normal(16000)
    for name in LOWER_IS_BETTER:
        assert METRICS[name](x, x, 16000) == pytest.approx(0, abs=1e-9)
        assert METRICS[name](x, x + 0.1 * x[::-1], 16000) > 0.01


def test_every_metric_satisfies_the_contract():
    from audioprune.protocols import Metric

    assert all(isinstance(metric, Metric) for metric in METRICS.values())
    assert set(SLOW_METRICS) <= set(METRICS) and set(METRICS) >= LOWER_IS_BETTER
