"""Which width makes a model of a wished size, and which sizes a model accepts.

It holds the argument checks and the width search that the models share; it does not count
parameters or operations of a built model.
"""

from __future__ import annotations

from collections.abc import Callable

from audioprune.errors import ConfigError


def check_whole(name: str, value: int, low: int, high: int) -> int:
    """Return a whole number that lies in its range.

    Args:
        name: Name of the argument, as in the configuration.
        value: Value given for it.
        low: Smallest allowed value.
        high: Largest allowed value.

    Raises:
        ConfigError: If the value is no whole number or lies outside ``low`` to ``high``.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ConfigError(
            f"expected {name} as a whole number from {low} to {high}, got {value!r}; change "
            f"model.{name}"
        )
    return value


def check_rate(frames_per_second: float) -> float:
    """Return the number of frames in one second of audio.

    Args:
        frames_per_second: Frames in one second of audio.

    Raises:
        ConfigError: If it is no number from 0.01 to 192,000.
    """
    number = isinstance(frames_per_second, int | float) and not isinstance(frames_per_second, bool)
    if not number or not 0.01 <= frames_per_second <= 192_000:
        raise ConfigError(
            f"expected frames_per_second from 0.01 to 192000, got {frames_per_second!r}; change "
            f"model.frames_per_second"
        )
    return float(frames_per_second)


def check_sixteenths(name: str, value: float, high: int) -> int:
    """Return a width multiplier in sixteenths, so that scaled channel counts are whole numbers.

    Args:
        name: Name of the argument, as in the configuration.
        value: Multiplier of the published channel counts; 1.0 is the published model.
        high: Largest allowed multiplier.

    Raises:
        ConfigError: If the value is not a multiple of 1/16 above 0 and up to ``high``.
    """
    wrong = (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not 0 < value <= high
        or value * 16 % 1 != 0
    )
    if wrong:
        raise ConfigError(
            f"expected {name} as a multiple of 1/16 above 0 and up to {high}, got {value!r}; "
            f"change model.{name}"
        )
    return round(value * 16)


def nearest_width(count: Callable[[int], int], params: int, high: int) -> int:
    """Return the width whose model has the number of parameters nearest to the wished one.

    Of two equally near widths the smaller one is returned; below the smallest model that model is
    the nearest.

    Args:
        count: Number of parameters of the model of a width; it must grow with the width.
        params: Wished number of parameters, above 0.
        high: Largest width.

    Raises:
        ConfigError: If ``params`` is no positive whole number or exceeds the size of the largest
            model.
    """
    if isinstance(params, bool) or not isinstance(params, int) or params < 1:
        raise ConfigError(
            f"expected the wished number of parameters as a whole number above 0, got "
            f"{params!r}; change it"
        )
    if params > count(high):
        raise ConfigError(
            f"expected at most {count(high)} parameters (width {high}), got {params}; wish for "
            f"a smaller model"
        )
    low_width, high_width = 1, high
    while high_width - low_width > 1:
        middle = (low_width + high_width) // 2
        if count(middle) <= params:
            low_width = middle
        else:
            high_width = middle
    return min((low_width, high_width), key=lambda width: (abs(count(width) - params), width))
