"""Make one note with a trained model and write it as a WAV file: ``make_note``.

A model is conditioned on tags such as the pitch, and some models also need a recording to start
from; both come from the request, or from a note of the corpus that fits it best. How such models
are trained and scored is in tasks/generation.py.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor, nn

from audioprune.data.notes.names import read_name
from audioprune.data.notes.note import Note, NoteStore
from audioprune.dsp.encoding import encoded
from audioprune.errors import ConfigError, DataError, unknown_name
from audioprune.experiment import agreement
from audioprune.experiment.model_io import instantiate, load_model_file
from audioprune.files import write_atomic
from audioprune.protocols import FollowsLoudness, GeneratesNotes, NamesNotes
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
        tags: What the model was conditioned on, by name.
        recording: Name of the recording that the model started from; empty for none.
        remarks: What the user should know, one line each.
    """

    file: Path
    sample_rate: int
    duration_s: float
    seconds: float
    tags: dict[str, int]
    recording: str
    remarks: tuple[str, ...]

    @property
    def real_time_factor(self) -> float:
        """Seconds of work per second of audio; below 1 is faster than real time."""
        return self.seconds / self.duration_s

    def lines(self) -> list[str]:
        """Return what was made, for a reader."""
        given = [f"{name} {value}" for name, value in self.tags.items()]
        if self.recording:
            given.append(f"from {self.recording}")
        speed = "faster" if self.real_time_factor < 1 else "slower"
        return [
            f"{self.file}: {self.duration_s:g} s at {self.sample_rate} Hz, "
            f"{', '.join(given) or 'told nothing'}",
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

    A WaveNet draws one sample after the other. SING repeats the note that it gets as a recording,
    whatever the pitch. DDSP gets the pitch and a loudness curve, which is that of the reference if
    there is one and follows from the velocity otherwise, and a recording for its timbre. Where a
    model needs a recording and none is given, it gets a training note of the corpus with the
    wanted instrument or family: of these the nearest pitch, and of these the nearest velocity.

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
    if not isinstance(given, GeneratesNotes):
        raise ConfigError(
            f"{checkpoint}: expected a model that makes notes, got one of "
            f"{type(given).__name__}; train one with experiment=p3/..."
        )
    agreement.check_parts(loaded.model, given, None)
    config = {**config, "sample_rate": given.sample_rate}
    corpus = data or corpus_of(checkpoint)
    return _Session(given, config, loaded.model.eval(), wanted, corpus).make(Path(out))


@dataclass(frozen=True)
class _Recording:
    """A recording that a model starts from.

    Attributes:
        audio: Samples (1, T).
        pitch: MIDI pitch, where it is known and may replace the default.
        velocity: MIDI velocity, likewise.
        name: For the user.
    """

    audio: Tensor
    pitch: int | None
    velocity: int | None
    name: str


@dataclass
class _Session:
    """One request to one model."""

    task: GeneratesNotes
    task_config: dict[str, Any]
    model: nn.Module
    wanted: Request
    data: dict[str, Any] | None
    remarks: list[str] = field(default_factory=list)
    _corpus: Any = None

    def make(self, out: Path) -> MadeNote:
        rate = self.task.sample_rate
        samples = round(self.wanted.duration_s * rate)
        recording = self._recording(samples)
        tags = self._tags(recording)
        batch = self._batch(tags, recording)
        self._run(batch, min(samples, _WARM_UP_SAMPLES))
        started = time.perf_counter()
        audio = self._run(batch, samples)[0].numpy()
        seconds = time.perf_counter() - started
        file = self._write(out, audio)
        return MadeNote(
            file,
            rate,
            samples / rate,
            seconds,
            tags={name: tags[name] for name in self.task.tags()},
            recording=recording.name if recording else "",
            remarks=tuple(self.remarks),
        )

    @torch.inference_mode()
    def _run(self, batch: dict[str, Any], samples: int) -> Tensor:
        wanted = self.wanted
        return self.task.generate(
            self.model, batch, samples, seed=wanted.seed, temperature=wanted.temperature
        )

    def _write(self, out: Path, audio: np.ndarray) -> Path:
        """Write samples (T,) as a 16-bit WAV file, clipped where they exceed full scale."""
        if not np.isfinite(audio).all():
            raise DataError(
                f"{out}: expected finite audio from the model, got NaN or infinity; train it again"
            )
        peak = float(np.abs(audio).max())
        if peak > 1:
            self.remarks.append(f"samples beyond full scale are clipped (peak {peak:.3g})")
        return write_atomic(out, encoded(audio.clip(-1, 1), self.task.sample_rate, "WAV"))

    def _tags(self, recording: _Recording | None) -> dict[str, int]:
        """Return a value for every possible tag; 0 for a name that the model has no use for."""
        wanted, tags = self.wanted, self.task.tags()
        pitch = recording.pitch if recording else None
        velocity = recording.velocity if recording else None
        return {
            "pitch": _first(wanted.pitch, pitch, _PITCH),
            "velocity": _first(wanted.velocity, velocity, _VELOCITY),
            "family": self._index("family") if "family" in tags else 0,
            "instrument": self._index("instrument") if "instrument" in tags else 0,
        }

    def _batch(self, values: dict[str, int], recording: _Recording | None) -> dict[str, Any]:
        """Return what the task generates from: tags of shape (1,), audio (1, T), its loudness."""
        tags = self.task.tags()
        batch: dict[str, Any] = {name: torch.tensor([value]) for name, value in values.items()}
        if recording is not None:
            batch["audio"] = recording.audio
            if (
                self.wanted.reference
                and isinstance(self.task, FollowsLoudness)
                and "pitch" in tags
            ):
                batch["loudness"] = self.task.loudness_of(recording.audio)
        unused = [name for name in values if name not in tags and self._asked(name) is not None]
        searched = recording is not None and not self.wanted.reference
        if unused and not searched:
            self.remarks.append(f"the model is not told {', '.join(unused)}, which change nothing")
        return batch

    def _asked(self, name: str) -> str | int | None:
        """Return what the request says of a tag."""
        asked = self.wanted
        return {
            "pitch": asked.pitch,
            "velocity": asked.velocity,
            "family": asked.family,
            "instrument": asked.instrument,
        }[name]

    def _recording(self, samples: int) -> _Recording | None:
        """Return the recording that the model starts from, or None where it needs none."""
        reference = self.wanted.reference
        if not reference and not self.task.listens(self.model):
            return None
        if reference and Path(reference).is_file():
            name = read_name(Path(reference).stem)
            audio = self._read(Path(reference), samples)
            return _Recording(audio, name.pitch, name.velocity, reference)
        note = self._by_id(reference) if reference else self._nearest()
        audio = self._read(note.path, samples)
        # A note that was searched for the request says nothing that the request does not say.
        pitch, velocity = (note.pitch, note.velocity) if reference else (None, None)
        return _Recording(audio, pitch, velocity, f"note {note.id}")

    def _read(self, path: Path, samples: int) -> Tensor:
        """Read the first samples of a file, shape (1, T), zeros behind its end."""
        store = NoteStore(self.task.sample_rate, self.wanted.duration_s, 0)
        found = store.get(path)[:samples]
        return torch.nn.functional.pad(torch.from_numpy(found), (0, samples - len(found)))[None]

    def _by_id(self, name: str) -> Note:
        notes = [note for part in self._parts() for note in part.notes]
        found = next((note for note in notes if note.id == name), None)
        if found is None:
            known = [note.id for note in notes]
            raise ConfigError(
                f"reference: no file of this name, and {unknown_name('note', name, known)}"
            )
        return found

    def _nearest(self) -> Note:
        """Return the training note that fits the request best: see ``make_note``."""
        notes = list(self._prepared().train().notes)
        if self.wanted.instrument is not None:
            name = self._name("instrument")
            notes = [note for note in notes if note.instrument == name]
        if self.wanted.family is not None:
            name = self._name("family")
            notes = [note for note in notes if note.family == name]
        if not notes:
            raise ConfigError(
                "expected a training note of this instrument and family, got none; choose "
                "others or give reference=..."
            )
        pitch = _first(self.wanted.pitch, _PITCH)
        velocity = _first(self.wanted.velocity, _VELOCITY)

        def distance(note: Note) -> tuple[int, int, str]:
            return abs(note.pitch - pitch), abs(note.velocity - velocity), note.id

        found = min(notes, key=distance)
        if found.pitch != pitch and "pitch" not in self.task.tags():
            self.remarks.append(
                f"the nearest training note has pitch {found.pitch}, not {pitch}; the model "
                f"keeps the pitch that it hears"
            )
        return found

    def _index(self, what: str) -> int:
        """Return the index of the wanted family or instrument."""
        value = self._asked(what)
        if value is None:
            raise ConfigError(
                f"expected {what}=<name or index>, got none; the model is told the {what} of "
                f"its note"
            )
        return value if isinstance(value, int) else self._known(what).index(self._name(what))

    def _name(self, what: str) -> str:
        """Return the name of the wanted family or instrument."""
        value, known = self._asked(what), self._known(what)
        if isinstance(value, int) and 0 <= value < len(known):
            return known[value]
        if value not in known:
            raise ConfigError(unknown_name(what, str(value), known))
        return str(value)

    def _known(self, what: str) -> Sequence[str]:
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
            corpus: Any = instantiate(self.data)
            known = isinstance(corpus, NamesNotes)
            if not known:
                raise ConfigError(
                    f"expected a corpus of notes, got data={self.data.get('name')}; give "
                    f"data=nsynth, tinysol or note_folder"
                )
            corpus.prepare()
            agreement.complete_task(self.task_config, corpus, stored=True)
            self._corpus = corpus
        return self._corpus


def _first(*values: int | None) -> int:
    return next(value for value in values if value is not None)
