"""How a trained model makes one note on request: what it is told, which recording it hears, the file that is written.

How models are trained and scored stands in tasks/generation.py.
"""

from __future__ import annotations

import io
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import soundfile
import torch
from torch import Tensor, nn

from audioprune.data.notes.names import read_name
from audioprune.data.notes.note import NoteStore
from audioprune.errors import ConfigError, DataError, unknown_name
from audioprune.experiment import agreement
from audioprune.experiment.model_io import instantiate, load_model_file
from audioprune.files import write_atomic
from audioprune.provenance import corpus_of
from audioprune.ranges import Range

_WARM_UP_SAMPLES = 800
_PITCH, _VELOCITY = 60, 100


@dataclass(frozen=True)
class Request:
    """Which note is wanted.

    Attributes:
        pitch: MIDI pitch 0..127; None for that of the reference, else 60.
        velocity: MIDI velocity 0..127; None for that of the reference, else 100.
        family: Name of a family of the corpus, or its index.
        instrument: Name of an instrument of the corpus, or its index.
        reference: An audio file, or the id of a note of the corpus.
        duration_s: Length in seconds.
        seed: Decides the draws of a model that draws.
        temperature: Divisor of its logits.
    """

    pitch: Annotated[int | None, Range(0, 127)] = None
    velocity: Annotated[int | None, Range(0, 127)] = None
    family: str | int | None = None
    instrument: str | int | None = None
    reference: str | None = None
    duration_s: Annotated[float, Range(0.05, 600)] = 2.0
    seed: Annotated[int, Range(0, 2**31 - 1)] = 0
    temperature: Annotated[float, Range(0, 100)] = 1.0


@dataclass(frozen=True)
class MadeNote:
    """A note that a model made.

    Attributes:
        file: The file.
        sample_rate: In Hz.
        duration_s: Its length in seconds.
        seconds: How long the model took, without loading and compiling.
        told: What the model was told, by name.
        heard: Which recording it heard; empty for none.
        remarks: What the user should know, one line each.
    """

    file: Path
    sample_rate: int
    duration_s: float
    seconds: float
    told: dict[str, int]
    heard: str
    remarks: tuple[str, ...]

    @property
    def real_time_factor(self) -> float:
        """Seconds of work per second of audio; below 1 is faster than real time."""
        return self.seconds / self.duration_s

    def lines(self) -> list[str]:
        """Return what was made, for a reader."""
        told = [f"{name} {value}" for name, value in self.told.items()] + (
            [f"from {self.heard}"] if self.heard else []
        )
        speed = "faster" if self.real_time_factor < 1 else "slower"
        return [
            f"{self.file}: {self.duration_s:g} s at {self.sample_rate} Hz, "
            f"{', '.join(told) or 'told nothing'}",
            f"real-time factor {self.real_time_factor:.3g} ({self.seconds:.3g} s, {speed} than "
            f"real time)",
            *self.remarks,
        ]


def make_note(
    checkpoint: str,
    wanted: Request,
    out: str,
    *,
    data: dict[str, Any] | None = None,
    model: dict[str, Any] | None = None,
    task: dict[str, Any] | None = None,
) -> MadeNote:
    """Make a note with a trained model and write it as a 16-bit WAV file.

    A WaveNet draws one sample after the other. SING makes the note again that it hears, whatever
    the pitch. DDSP is told the pitch and a loudness curve, that of the reference if one is given,
    else one that follows from the velocity, and hears a note for its timbre. Where a model must
    hear a note and none is given, it is the training note of the corpus with the wanted instrument
    or family, of these the nearest pitch, and of these the nearest velocity.

    Args:
        checkpoint: Model file or run folder.
        wanted: The note.
        out: The file to write, ending in ``.wav``.
        data: Configuration of the corpus, by default the one that the file names; it is prepared
            only if it is needed.
        model: Configuration of a model that is not of this package, or None.
        task: Configuration of the task in place of the file's, or None.

    Raises:
        ConfigError: The model makes no notes, or something is missing or unknown.
        CheckpointError: The file cannot be read.
        DataError: The reference or the corpus cannot be read.
        OutputError: The file cannot be written.
    """
    if Path(out).suffix.lower() != ".wav":
        raise ConfigError(f"expected out=<file>.wav, got {out}; give a name that ends in .wav")
    loaded = load_model_file(checkpoint, agreement.complete_model(model) if model else None)
    config = task or loaded.task_config
    if not config:
        raise ConfigError(
            f"{checkpoint}: expected a file that names its task, got none; give "
            f"task=next_sample, autoencoder or synthesis"
        )
    given = instantiate(agreement.complete_task(config))
    if not hasattr(given, "listens"):
        raise ConfigError(
            f"{checkpoint}: expected a model that makes notes, got one of "
            f"{type(given).__name__}; train one with experiment=p3/..."
        )
    agreement.check_parts(loaded.model, given, None)
    config = {**config, "sample_rate": given.sample_rate}
    return _Session(
        given, config, loaded.model.eval(), wanted, data or corpus_of(checkpoint)
    ).make(Path(out))


@dataclass
class _Session:
    """One request to one model."""

    task: Any
    task_config: dict[str, Any]
    model: nn.Module
    wanted: Request
    data: dict[str, Any] | None
    remarks: list[str] = field(default_factory=list)
    _corpus: Any = None

    def make(self, out: Path) -> MadeNote:
        samples = round(self.wanted.duration_s * self.task.sample_rate)
        batch, told, heard = self._batch(samples)
        self._run(batch, min(samples, _WARM_UP_SAMPLES))
        started = time.perf_counter()
        audio = self._run(batch, samples)[0].numpy()
        seconds = time.perf_counter() - started
        if not np.isfinite(audio).all():
            raise DataError(
                f"{out}: expected finite audio from the model, got NaN or infinity; train it again"
            )
        peak = float(np.abs(audio).max())
        if peak > 1:
            self.remarks.append(f"samples beyond full scale are clipped (peak {peak:.3g})")
        file = _write_wav(out, audio.clip(-1, 1), self.task.sample_rate)
        return MadeNote(
            file,
            self.task.sample_rate,
            samples / self.task.sample_rate,
            seconds,
            told,
            heard,
            tuple(self.remarks),
        )

    @torch.inference_mode()
    def _run(self, batch: dict[str, Any], samples: int) -> Tensor:
        return self.task.generate(
            self.model, batch, samples, seed=self.wanted.seed, temperature=self.wanted.temperature
        )

    def _batch(self, samples: int) -> tuple[dict[str, Any], dict[str, int], str]:
        """Return what the model is given, what it is told by name, and what it hears."""
        wanted, tags = self.wanted, self.task.tags()
        audio, meaning, heard = self._reference(samples)
        values = {
            "pitch": _first(wanted.pitch, meaning.get("pitch"), _PITCH),
            "velocity": _first(wanted.velocity, meaning.get("velocity"), _VELOCITY),
            "family": self._index("family") if "family" in tags else 0,
            "instrument": self._index("instrument") if "instrument" in tags else 0,
        }
        batch: dict[str, Any] = {name: torch.tensor([value]) for name, value in values.items()}
        if audio is not None:
            batch["audio"] = audio
            if wanted.reference and hasattr(self.task, "loudness_of") and "pitch" in tags:
                batch["loudness"] = self.task.loudness_of(audio)
        ignored = [
            n
            for n in ("pitch", "velocity", "family", "instrument")
            if getattr(wanted, n) is not None and n not in tags
        ]
        searched = audio is not None and not wanted.reference
        if ignored and not searched:
            self.remarks.append(
                f"the model is not told {', '.join(ignored)}, which change nothing"
            )
        return batch, {name: values[name] for name in tags}, heard

    def _reference(self, samples: int) -> tuple[Tensor | None, dict[str, int], str]:
        """Return the audio (1, T) that the model hears, what is known of it, and its name."""
        reference = self.wanted.reference
        if not reference and not self.task.listens(self.model):
            return None, {}, ""
        if reference and Path(reference).is_file():
            name = read_name(Path(reference).stem)
            known = {
                key: value
                for key, value in (("pitch", name.pitch), ("velocity", name.velocity))
                if value is not None
            }
            return self._read(Path(reference), samples), known, reference
        note = self._by_id(reference) if reference else self._nearest()
        return (
            self._read(note.path, samples),
            {"pitch": note.pitch, "velocity": note.velocity} if reference else {},
            f"note {note.id}",
        )

    def _read(self, path: Path, samples: int) -> Tensor:
        found = NoteStore(self.task.sample_rate, self.wanted.duration_s, 0).get(path)[:samples]
        return torch.nn.functional.pad(torch.from_numpy(found), (0, samples - len(found)))[None]

    def _by_id(self, name: str) -> Any:
        notes = [note for part in self._parts() for note in part.notes]
        found = next((note for note in notes if note.id == name), None)
        if found is None:
            known = [note.id for note in notes]
            raise ConfigError(
                f"reference: no file of this name, and {unknown_name('note', name, known)}"
            )
        return found

    def _nearest(self) -> Any:
        """Return the training note of the wanted instrument or family with the nearest pitch, and of these the nearest velocity."""
        notes = list(self._prepared().train().notes)
        for what in ("instrument", "family"):
            if getattr(self.wanted, what) is not None:
                name = self._name(what)
                notes = [note for note in notes if getattr(note, what) == name]
        if not notes:
            raise ConfigError(
                "expected a training note of this instrument and family, got none; choose "
                "others or give reference=..."
            )
        pitch, velocity = (
            _first(self.wanted.pitch, _PITCH),
            _first(self.wanted.velocity, _VELOCITY),
        )
        found = min(
            notes,
            key=lambda note: (abs(note.pitch - pitch), abs(note.velocity - velocity), note.id),
        )
        if found.pitch != pitch and "pitch" not in self.task.tags():
            self.remarks.append(
                f"the nearest training note has pitch {found.pitch}, not {pitch}; the model "
                f"keeps the pitch that it hears"
            )
        return found

    def _index(self, what: str) -> int:
        value = getattr(self.wanted, what)
        if value is None:
            raise ConfigError(
                f"expected {what}=<name or index>, got none; the model is told the {what} of "
                f"its note"
            )
        return value if isinstance(value, int) else self._known(what).index(self._name(what))

    def _name(self, what: str) -> str:
        """Return the name of the wanted family or instrument."""
        value, known = getattr(self.wanted, what), self._known(what)
        if isinstance(value, int) and 0 <= value < len(known):
            return known[value]
        if value not in known:
            raise ConfigError(unknown_name(what, str(value), known))
        return value

    def _known(self, what: str) -> tuple[str, ...]:
        corpus = self._prepared()
        return corpus.families if what == "family" else corpus.instruments

    def _parts(self) -> list[Any]:
        corpus = self._prepared()
        return [corpus.train(), corpus.valid(), *corpus.tests().values()]

    def _prepared(self) -> Any:
        if self._corpus is None:
            if self.data is None:
                raise ConfigError(
                    "expected data=<corpus of notes>, got none; give the corpus that the model "
                    "was trained on"
                )
            corpus = instantiate(self.data)
            if not hasattr(corpus, "families"):
                raise ConfigError(
                    f"expected a corpus of notes, got data={self.data.get('name')}; give "
                    f"data=nsynth, tinysol or note_folder"
                )
            corpus.prepare()
            agreement.complete_task(self.task_config, corpus, stored=True)
            self._corpus = corpus
        return self._corpus


def _write_wav(out: Path, audio: np.ndarray, sample_rate: int) -> Path:
    memory = io.BytesIO()
    soundfile.write(memory, audio, sample_rate, format="WAV", subtype="PCM_16")
    return write_atomic(out, memory.getvalue())


def _first(*values: int | None) -> int:
    return next(value for value in values if value is not None)
