"""What a written file scores beside the float32 one: ``scoring_of(plain, task)``.

The measure is the task's own, over the first items of each test condition of the corpus that the
checkpoint names. Where there is none at hand, the reason is given and nothing is scored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from audioprune.errors import AudiopruneError
from audioprune.experiment import agreement
from audioprune.experiment.model_io import instantiate
from audioprune.experiment.rehearsal.few_items import FewItems, first_items
from audioprune.export.running import Score
from audioprune.metrics.scorer import Scorer
from audioprune.paths import cache_folder
from audioprune.protocols import Corpus, Task, scores_audio

_AUDIO_METRIC = "stoi"


def scoring_of(plain: Mapping[str, Any], task: Any) -> tuple[Score | None, str]:
    """Return what scores a model, or None and the reason.

    Args:
        plain: The configuration of the verb: ``data``, ``transform``, ``score_items``.
        task: The task, or None.
    """
    if not plain["score_items"]:
        return None, "score_items=0"
    if plain["transform"] == "inside":
        return None, "files of samples are not scored"
    if task is None or not plain["data"]:
        return None, "neither the file nor the command names a corpus"
    if not isinstance(task, Task):
        return None, f"{type(task).__name__} has no score"
    try:
        corpus: Corpus = instantiate(dict(plain["data"]))
        corpus.prepare()
        agreement.complete_task(plain["task"], corpus, stored=True)
        count = plain["score_items"]
        sets = {name: first_items(items, count) for name, items in corpus.tests().items()}
    except AudiopruneError as error:
        return None, str(error)
    if not sets:
        return None, "the corpus has no test items"

    def score(model: nn.Module) -> tuple[str, float]:
        found: list[tuple[str, float]] = []
        for name, items in sets.items():
            row = _scored(task, model, items, name)
            metric = _AUDIO_METRIC if _AUDIO_METRIC in row else next(iter(row))
            found.append((metric, float(row[metric])))
        return found[0][0], sum(value for _, value in found) / len(found)

    return score, ""


def _scored(task: Any, model: nn.Module, items: FewItems, name: str) -> Mapping[str, Any]:
    """Return the mean of each measure over the items."""
    options: dict[str, Any] = {"condition": name, "variant": "file"}
    if not scores_audio(task):
        rows = task.score(model, items, None, **options)
    else:
        cache = cache_folder() / "metrics"
        with Scorer([_AUDIO_METRIC], task.sample_rate, 0, cache) as scorer:
            rows = task.score(model, items, scorer, **options)
    found: Mapping[str, Any] = rows["file"]["metrics"]
    return found
