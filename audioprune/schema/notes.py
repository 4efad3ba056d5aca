"""Which keys the groups of note synthesis have: generative models, their task, corpora of notes, and Esling et al.'s pipelines."""

from __future__ import annotations

from typing import Any

GROUPS: dict[str, dict[str, Any]] = {"model": {}, "task": {}, "data": {}, "pipeline": {}}
