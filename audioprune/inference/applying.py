"""What a network says of a recording: ``Applier`` gives rows, one for a file or for each frame.

Classifiers get the features of their corpus, other networks the waveform or what their own front
end makes of it. A recording is passed as a whole. Signals are enhanced in enhancer.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from audioprune.compress.placement import device_of
from audioprune.data.files.audio import read_audio
from audioprune.data.scenes.reading import said_by
from audioprune.dsp import mixdown, resample
from audioprune.errors import ConfigError, DataError, DivergedError
from audioprune.experiment.model_io import instantiate, load_model_file
from audioprune.inference.files import checked_info
from audioprune.model_header import read_facts
from audioprune.protocols import Classifies, Costed, Enhances, GeneratesNotes, ReadsRecordings
from audioprune.provenance import corpus_of
from audioprune.tasks.foreign.comparisons import named_outputs
from audioprune.tasks.foreign.front_ends import FrontEnd
from audioprune.tasks.foreign.imitate import Imitate
from audioprune.terminal.records import csv_text

Row = dict[str, Any]
_FRAME, _HOP, _MELS = 320, 160, 64
_SLACK = 2  # frames by which an output may miss those that its duration makes


@runtime_checkable
class HasRate(Protocol):
    """What knows its sample rate in Hz."""

    sample_rate: int


@dataclass(frozen=True)
class Applier:
    """A network, what it is fed, and how its outputs are told.

    Attributes:
        model: In evaluation mode.
        task: What its outputs mean, or None.
        corpus: What makes the features of a classifier, or None.
        front: What makes the input of any other network.
        top: How many of the largest values are told; None tells all values as they are.
        names: Names of the values; their numbers where there are none.
        output: Name of the output where the network returns several.
    """

    model: nn.Module
    task: object
    corpus: ReadsRecordings | None
    front: FrontEnd
    top: int | None
    names: tuple[str, ...]
    output: str | None

    @torch.inference_mode()
    def rows(self, path: Path) -> list[Row]:
        """Return what the network says of a recording.

        Raises:
            DataError: The recording is missing, damaged or empty, or has samples that are not
                finite.
            DivergedError: An output is not finite.
            ConfigError: The network returns several outputs and none is named.
        """
        info = checked_info(path, self.front.sample_rate)
        if self.corpus is not None and isinstance(self.task, Classifies):
            features = self.corpus.features_of(path)[None]
            values = self.task.classify(self.model, features)
        else:
            values = self._passed(path, info.frames / info.sample_rate)
        if not bool(torch.isfinite(values).all()):
            raise DivergedError(f"{path}: expected finite outputs, got NaN or infinity")
        rows = enumerate(values.cpu())
        return [self.row(str(path), number, each, len(values) > 1) for number, each in rows]

    def _passed(self, path: Path, duration_s: float) -> Tensor:
        """Return what the network makes of a recording, frames by values (N, K)."""
        samples, rate = read_audio(path)
        if not np.isfinite(samples).all():
            raise DataError(f"{path}: expected finite samples, got NaN or infinity; repair it")
        mono = resample(mixdown(samples.T), rate, self.front.sample_rate).astype(np.float32)
        return self.values_of(torch.from_numpy(mono)[None], duration_s)

    def values_of(self, audio: Tensor, duration_s: float) -> Tensor:
        """Return what the network makes of a whole waveform (1, T), frames by values (N, K)."""
        audio = audio.to(device_of(self.model))
        inputs = self.front.inputs(self.model, {"audio": audio, "noisy": audio, "clean": audio})
        return self._table(self.chosen(self.model(inputs)), len(inputs), duration_s)

    def chosen(self, outputs: Any) -> Tensor:
        """Return the output that is told, of all that the network returned.

        Raises:
            ConfigError: There are several and none is named.
        """
        found = named_outputs(outputs)
        if self.output is None and len(found) == 1:
            return next(iter(found.values()))
        if self.output is None or self.output not in found:
            listed = ", ".join(found) or "none"
            raise ConfigError(
                f"output: expected one of the outputs {listed}, got {self.output or 'none'}; give "
                f"output=NAME"
            )
        return found[self.output]

    def _table(self, output: Tensor, rows: int, duration_s: float) -> Tensor:
        """Return an output as frames by values."""
        if rows > 1:  # the front end cut the recording into rows
            return output.flatten(1) if output.dim() > 1 else output[:, None]
        one = output[0]
        if one.dim() == 0:
            return one.reshape(1, 1)
        costed = self.model if isinstance(self.model, Costed) else None
        if one.dim() == 1:
            frames = duration_s * costed.frames_per_second if costed else 0.0
            return one[:, None] if costed and abs(len(one) - frames) <= _SLACK else one[None]
        axis = costed.time_dim - 1 if costed and 0 < costed.time_dim <= one.dim() else 0
        return one.movedim(axis, 0).flatten(1)

    def row(self, name: str, number: int, values: Tensor, of_several: bool) -> Row:
        """Return what is told of a frame.

        Args:
            name: Of the recording.
            number: Of the frame, from 0.
            values: Its values (K,).
            of_several: Whether the recording has several frames.

        Raises:
            ConfigError: There are more or fewer names than values.
        """
        row: Row = {"file": name}
        if of_several and isinstance(self.model, Costed):
            row["time_s"] = round(number / self.model.frames_per_second, 6)
        elif of_several:
            row["frame"] = number
        names = self.names or tuple(map(str, range(len(values))))
        if len(names) != len(values):
            raise ConfigError(
                f"names: expected {len(values)} names, one a value, got {len(names)}; correct the "
                f"list"
            )
        if self.top is None:
            single = len(values) == 1 and not self.names
            keys = ["value"] if single else names
            return row | {key: value for key, value in zip(keys, values.tolist(), strict=True)}
        largest = values.topk(min(self.top, len(values)))
        for place, (value, index) in enumerate(
            zip(largest.values.tolist(), largest.indices.tolist(), strict=True), 1
        ):
            row |= {f"class_{place}": names[index], f"value_{place}": value}
        return row


def load_applier(
    checkpoint: str,
    *,
    model: Mapping[str, Any] | None = None,
    task: Mapping[str, Any] | None = None,
    data: Mapping[str, Any] | None = None,
    rate: int | None = None,
    heard: int | None = None,
    top: int | None = None,
    names: Sequence[str] = (),
    output: str | None = None,
    device: torch.device | str = "cpu",
) -> Applier:
    """Read a network whose outputs are to be told.

    Args:
        checkpoint: ``.apz``, ``.safetensors``, a state dict or a run folder.
        model: The user's own class, which a file may name then, or that of a state dict.
        task: Target and arguments of the task; None for that of the file, which may have none.
        data: Corpus of a classifier in the place of what its file says of features and classes.
        rate: Sample rate of the network in Hz.
        heard: Sample rate of what it is to hear, which is taken where nothing says its own.
        top: See `Applier`; None takes 3 for a classifier.
        names: See `Applier`; empty takes those of the file or the corpus.
        output: See `Applier`.
        device: Where the model computes.

    Raises:
        CheckpointError: The file is missing, damaged or hostile.
        ConfigError: The network enhances or makes notes, its rate is not known, or the file of a
            classifier says nothing of features and no corpus is given.
        DataError: The corpus of a classifier is not at hand.
    """
    loaded = load_model_file(checkpoint, dict(model) if model else None)
    node = dict(task) if task else loaded.task_config
    built: Any = instantiate(node) if node else None
    network = loaded.model.to(device).eval()
    if isinstance(built, GeneratesNotes):
        raise ConfigError(f"{checkpoint}: makes notes; use audioprune generate")
    if isinstance(built, Enhances):
        raise ConfigError(f"{checkpoint}: enhances signals; use audioprune enhance")
    corpus = _corpus(checkpoint, data) if isinstance(built, Classifies) else None
    if corpus is not None:
        known = corpus.class_names()
        names, top = names or known, top or min(3, len(known))
    wanted = rate or _rate_of(built) or _rate_of(network) or heard
    if not wanted:
        raise ConfigError(
            f"{checkpoint}: expected the sample rate of the network, got none; give rate=HZ"
        )
    front = built.front if isinstance(built, Imitate) else None
    front = front or FrontEnd("model", None, wanted, _FRAME, _HOP, _MELS)
    return Applier(network, built, corpus, front, top, tuple(names), output)


def read_names(path: str | None) -> list[str]:
    """Return the lines of a file of names; empty without a file.

    Raises:
        ConfigError: It cannot be read.
    """
    if not path:
        return []
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"names: cannot read {path} ({error}); give a text file") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def as_csv(rows: Sequence[Row]) -> str:
    """Return rows as a table of comma-separated values, of which a spreadsheet computes none."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    return csv_text(rows, columns)


def _corpus(checkpoint: str, data: Mapping[str, Any] | None) -> ReadsRecordings:
    if not data:
        known = said_by(read_facts(checkpoint))
        if known is not None:
            return known
        data = corpus_of(checkpoint)
    if not data:
        raise ConfigError(
            f"{checkpoint}: expected the corpus whose features the classifier was trained on, got "
            f"none; give data=..."
        )
    corpus = instantiate(dict(data))
    if not isinstance(corpus, ReadsRecordings):
        raise ConfigError(
            f"{checkpoint}: expected a corpus of scenes, got {type(corpus).__name__}; give "
            f"data=..."
        )
    corpus.prepare()
    return corpus


def _rate_of(value: object) -> int | None:
    return value.sample_rate if isinstance(value, HasRate) and value.sample_rate else None
