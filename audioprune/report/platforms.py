"""On which small machines a model would run: their limits, and whether its costs stay within them.

The costs are counted in experiment/cost.py; nothing here needs torch, so that reports can read
platforms too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

import yaml

import audioprune
from audioprune.errors import ConfigError
from audioprune.plain import yaml_text


@dataclass(frozen=True)
class Platform:
    """A device on which a model may run.

    Attributes:
        name: Readable name.
        clock_hz: Clock rate.
        flops: Floating-point operations per second.
        drive_bytes: Size of its drive.
        ram_bytes: Size of its memory.
        family: What the device is sold as.

    Source: Esling et al., Table 1.
    """

    name: str
    clock_hz: float
    flops: float
    drive_bytes: float
    ram_bytes: float
    family: str = ""


@dataclass(frozen=True)
class Bounds:
    """Whether a model runs on a platform.

    Attributes:
        real_time: One second of audio takes no more operations than the platform does in a second.
        fits_drive: The model fits on the drive.
        fits_memory: The read-write memory of one step fits into the memory.
    """

    real_time: bool
    fits_drive: bool
    fits_memory: bool

    @property
    def embeddable(self) -> bool:
        """Whether the model fits on the drive and into the memory."""
        return self.fits_drive and self.fits_memory


def bounds(
    platform: Platform, flops_per_second: float, disk_bytes: float, read_write_bytes: float
) -> Bounds:
    """Compare the cost of a model with a platform.

    Args:
        platform: The device.
        flops_per_second: Operations per second of audio.
        disk_bytes: Size of the stored model.
        read_write_bytes: Memory read and written in one generation step.

    Source: Esling et al., Sec. 6. Memory accesses are compared with the size of the memory, as
    there.
    """
    return Bounds(
        flops_per_second <= platform.flops,
        disk_bytes <= platform.drive_bytes,
        read_write_bytes <= platform.ram_bytes,
    )


def read_platforms(folder: Path | None = None) -> list[Platform]:
    """Read all platforms of a folder of YAML files, from the slowest to the fastest.

    Args:
        folder: By default that of the package, ``conf/platform``; a file of your own beside them
            adds a device.

    Raises:
        ConfigError: A file does not hold the numbers of a platform.
    """
    folder = folder or _shipped()
    return sorted(
        (_read(path) for path in sorted(folder.glob("*.yaml"))),
        key=lambda platform: (platform.flops, platform.name),
    )


def _read(path: Path) -> Platform:
    numbers = ("clock_hz", "flops", "drive_bytes", "ram_bytes")
    try:
        value = yaml_text.parse(path.read_text(encoding="utf-8"))
        found = {key: float(value[key]) for key in numbers}
        if set(value) - {each.name for each in fields(Platform)} or not all(
            number > 0 for number in found.values()
        ):
            raise ValueError
        return Platform(str(value["name"]), **found, family=str(value.get("family", "")))
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        wanted = ", ".join(numbers)
        raise ConfigError(
            f"{path}: expected name, family and positive numbers {wanted}, got others; correct "
            f"the file"
        ) from error


def _shipped() -> Path:
    package = Path(audioprune.__file__).parent
    places: Iterable[Path] = (package / "conf", package.parent / "conf")
    return next(place for place in places if place.is_dir()) / "platform"
