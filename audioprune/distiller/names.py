"""Which parameter of a model a name in a schedule means: with or without the container ``G.`` and the wrapper ``module.``."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from audioprune.errors import ConfigError, unknown_name

DEFAULT = "*"


def short(name: str) -> str:
    """Return a parameter name without one ``module`` component, which data-parallel wrappers add, and without a leading ``G``."""
    parts = name.split(".")
    if "module" in parts:
        parts.remove("module")
    return ".".join(parts[1:] if len(parts) > 1 and parts[0] == "G" else parts)


def resolve(
    names: Iterable[str],
    parameters: Iterable[str],
    refuse: Callable[[str, str], None],
    default: bool = False,
) -> dict[str, str]:
    """Find the parameters that names mean; an exact name goes before a shortened one.

    Args:
        names: Names as the schedule spells them.
        parameters: Names of the model's parameters.
        refuse: Called with a name that means no parameter and what is wrong with it.
        default: Whether ``*``, which stands for itself, is allowed.

    Returns:
        Name in the schedule -> name in the model.

    Raises:
        ConfigError: A name means several parameters, or two names mean the same one.
    """
    known = {str(name): str(name) for name in parameters}
    shortened: dict[str, list[str]] = {}
    for name in known:
        shortened.setdefault(short(name), []).append(name)
    found: dict[str, str] = {}
    for name in dict.fromkeys(names):
        meant = (
            [name]
            if name in known or (default and name == DEFAULT)
            else shortened.get(short(name), [])
        )
        if len(meant) > 1:
            raise ConfigError(
                f"parameter '{name}' means each of {', '.join(meant)}; write the whole name"
            )
        if not meant:
            refuse(name, unknown_name("parameter", name, known))
        elif meant[0] in found.values():
            raise ConfigError(
                f"parameter '{meant[0]}' is named twice, the second time as '{name}'; remove one"
            )
        else:
            found[name] = meant[0]
    return found
