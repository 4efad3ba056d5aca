"""Curves of a training for TensorBoard: ``open_tensorboard``, loaded only where asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from audioprune.errors import ConfigError


def open_tensorboard(folder: Path) -> Any:
    """Open a TensorBoard writer.

    Raises:
        ConfigError: TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ConfigError(
            "runtime.tensorboard=true needs TensorBoard; run: pip install 'audioprune[log]'"
        ) from error
    return SummaryWriter(str(folder))
