"""What a network that came out of a file still knows of it: ``facts_of``, ``note_``.

A plain ``nn.Module`` says nothing of its task or of the file it came from; both are needed when it
is run on audio or saved again. The facts are one attribute of the module, which copies have too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from torch import nn


@dataclass
class Facts:
    """What is known of a network beside its weights.

    Attributes:
        model: Target and arguments that rebuild its class; empty where they are not known.
        task: Target and arguments of its task, or None.
        more: What else its file says of its making, such as corpus and seed.
        file: The file that it was read from; empty without one.
    """

    model: dict[str, Any] = field(default_factory=dict)
    task: dict[str, Any] | None = None
    more: dict[str, Any] = field(default_factory=dict)
    file: str = ""


@runtime_checkable
class Known(Protocol):
    """A module with facts."""

    audioprune_facts: Facts


def facts_of(model: nn.Module) -> Facts:
    """Return what is known of a network; nothing of one that this package did not load."""
    return model.audioprune_facts if isinstance(model, Known) else Facts()


def note_(model: nn.Module, facts: Facts) -> nn.Module:
    """Attach facts to a network and return it."""
    model.audioprune_facts = facts  # type: ignore[assignment]
    return model
