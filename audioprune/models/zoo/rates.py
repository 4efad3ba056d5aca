"""Which sample rate a public network was trained at: ``only_rate`` refuses any other one."""

from __future__ import annotations

from audioprune.errors import ConfigError


def only_rate(given: int, own: int) -> int:
    """Return the one sample rate of a network, in Hz.

    Raises:
        ConfigError: Another one is given.
    """
    if given != own:
        raise ConfigError(
            f"expected model.sample_rate as {own}, got {given}; give data.sample_rate={own}"
        )
    return own
