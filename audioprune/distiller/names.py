"""Which parameter of a model a name in a schedule means: ``resolve``.

Schedule files may write names with the container ``G.`` or the wrapper ``module.``, which the
model does not have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from audioprune.errors import ConfigError, unknown_name

DEFAULT = "*"
"""Every parameter that is not named."""


def short(name: str) -> str:
    """Return a parameter name without a leading ``G`` and without one ``module`` component.

    Data-parallel wrappers add ``module``.
    """
    parts = name.split(".")
    if "module" in parts:
        parts.remove("module")
    if len(parts) > 1 and parts[0] == "G":
        parts = parts[1:]
    return ".".join(parts)


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
        default: Whether ``*`` is allowed; it means itself.

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
        exact = name in known or (default and name == DEFAULT)
        meant = [name] if exact else shortened.get(short(name), [])
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
