"""The networks of the GPU check: each is a paper-size experiment on made signals (``opened``)."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_module

from audioprune import schema
from audioprune.commands.rehearse import corpus_of
from audioprune.experiment.build import build
from audioprune.experiment.config_hash import plain_values
from audioprune.experiment.rehearsal.few_items import Counts, few_of
from audioprune.experiment.run import Run

_SPEECH = ("data.segment_s=0.4", "data.max_test_s=0.4")
_NOTES = ("data.duration_s=0.6", "data.segment_s=0.5")
_SCENES = ("data.duration_s=1.5", "data.mels=64")
NETWORKS: dict[str, tuple[str, tuple[str, ...]]] = {
    "dcae": ("p1/dcae", ("model.width=0.0625", "task.discriminator.width=0.0625")),
    "fdnn": ("p2/fdnn", ("model.width=8", "model.depth=1", *_SPEECH)),
    "lstm": ("p2/lstm", ("model.width=8", "model.depth=1", *_SPEECH)),
    "tcnn": ("p2/tcnn", ("model.width=0.0625", *_SPEECH)),
    "gcrn": ("p2/gcrn", ("model.width=0.0625", *_SPEECH)),
    "ddsp": ("p3/ddsp_nsynth", ("model.hidden=8", "model.depth=1", *_NOTES)),
    "sing": ("p3/sing_nsynth", ("model.channels=16", "model.dimension=8", "data.duration_s=0.5")),
    "wavenet": (
        "p3/wavenet_nsynth",
        (
            *("model.layers=4", "model.cycles=1", "model.residual=4", "model.gate=4"),
            *("model.skip=4", "model.end=4", "data.segment_s=0.05", "data.duration_s=0.05"),
            "data.lead_in_s=0",
        ),
    ),
    "vgg": ("p4/vgg_2018", ("model.width=2", *_SCENES)),
    "resnet50": ("p4/resnet_2018", ("model.width=2", *_SCENES)),
    "densenet121": ("p4/densenet_2018", ("model.width=4", "model.growth=2", *_SCENES)),
    "cp_resnet": ("p4/cp_resnet_2018", ("model.width=4", *_SCENES)),
}
"""Network -> experiment of paper size, and what makes it tiny."""


@dataclass(frozen=True)
class Size:
    """How large the check is.

    Attributes:
        tiny: Whether networks and items are tiny.
        train_s: Seconds of a training.
    """

    tiny: bool
    train_s: float = 120.0


def opened(
    network: str,
    size: Size,
    items: int,
    folder: str,
    words: Sequence[str] = (),
    device: str = "cpu",
) -> tuple[Run, dict[str, Any]]:
    """Build the experiment of a network with the first items of made signals.

    Args:
        network: Key of NETWORKS.
        size: Whether it is tiny.
        items: Training items.
        folder: Where it writes.
        words: Further overrides.
        device: Where the run works.

    Returns:
        The run and its plain configuration.
    """
    schema.register()
    name, tiny = NETWORKS[network]
    overrides = [f"experiment={name}", "verb=prune", "scoring.audio_items=0", *words]
    overrides += [f"runtime.device={device}", "runtime.metric_workers=0"]
    overrides += [f"runtime.cache={folder}", "runtime.share=false"]
    overrides += [*tiny, "scoring.metrics=[si_sdr]"] if size.tiny else []
    with initialize_config_module(version_base="1.3", config_module="audioprune.conf"):
        config = compose("prune", overrides=overrides)
    data, _ = corpus_of(config)
    few, _ = few_of(data, Counts(items))
    plain = plain_values(config)
    run = build(plain, Path(folder), [], data=few)
    for module in run.model.modules():
        if isinstance(module, torch.nn.Dropout | torch.nn.Dropout2d):
            module.p = 0.0  # devices draw from streams of their own
    return run, plain


def scratch() -> tempfile.TemporaryDirectory[str]:
    """Return a folder that is removed at the end of a with-block."""
    return tempfile.TemporaryDirectory(prefix="audioprune-gpu-check-")
