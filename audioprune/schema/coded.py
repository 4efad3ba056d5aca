"""Which keys the groups of coded-speech enhancement have: generator, adversarial task, coded corpora, and Plain & Biswas's pipelines."""

from __future__ import annotations

from typing import Any

GROUPS: dict[str, dict[str, Any]] = {"model": {}, "task": {}, "data": {}, "pipeline": {}}
