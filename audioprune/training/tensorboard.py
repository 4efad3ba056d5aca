"""Where a training is shown in TensorBoard, if the user has it: ``open_tensorboard``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from audioprune.errors import ConfigError


def open_tensorboard(folder: Path | None) -> Any:
    """Open a TensorBoard writer, or none without a folder.

    Raises:
        ConfigError: TensorBoard is not installed.
    """
    if folder is None:
        return None
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ConfigError(
            "runtime.tensorboard=true needs TensorBoard; run: pip install 'audioprune[log]'"
        ) from error
    return SummaryWriter(str(folder))
