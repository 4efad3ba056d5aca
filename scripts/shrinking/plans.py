"""Which forms of each public network are tried, on which audio, and how much worse one may be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

_SPEECH = (
    "data=synthetic_speech",
    "data.minutes=12",
    "data.speakers=36",
    "data.test_mixtures=24",
    "data.segment_s=3",
    "data.train_mixtures=512",
    "data.valid_mixtures=24",
    "data.rms_normalise=false",
    "data.train_snr_db=[0,20]",
    "data.test_snr_db=[10]",
)
_NOTES = ("data=synthetic_notes", "data.duration_s=0.5", "data.segment_s=0.08")
_FEW_NOTES = (*_NOTES, "data.instruments=2")  # a second of it is 141 G multiplications
_TUNED = (
    "training.batch_size=8",
    "training.schedule=linear",
    "training.decay=0.02",
    "scoring.audio_items=0",
    "scoring.latency_repeats=0",
)


@dataclass(frozen=True)
class Form:
    """One way to make a network smaller.

    Attributes:
        name: Name on the page.
        options: Of the command.
        verb: Of the command.
    """

    name: str
    options: Sequence[str]
    verb: str = "prune"


@dataclass(frozen=True)
class Network:
    """A public network and what is asked of its small forms.

    Attributes:
        title: Name on the page.
        metric: Its score, 0..1.
        larger_is_better: Whether a larger score is better.
        drop: How much worse than the original's the score may be.
        embedded: Options that choose the embedded corpus.
        needs_labels: Whether the embedded corpus is used in any case, for its labels. Of voices a
            folder says whose they are.
        options: Further options of every command.
        forms: What is tried.
        folder: Further options where the audio is a folder.
        aim: What was hoped for, and how far that is, for the page.
    """

    title: str
    metric: str
    larger_is_better: bool
    drop: float
    embedded: Sequence[str]
    needs_labels: bool
    options: Sequence[str]
    forms: Sequence[Form] = field(default_factory=tuple)
    folder: Sequence[str] = ()
    aim: str = ""

    def data(self, audio: str | None) -> Sequence[str]:
        """Return the options that choose the audio: a folder, else the embedded corpus."""
        if audio is None or self.needs_labels:
            return self.embedded
        return (
            "data=audio_folder",
            f"data.root={audio}",
            "data.segment_s=3",
            "data.valid_segments=40",
            "data.test_segments=160",
            *self.folder,
        )


def _quantized(levels: int) -> Form:
    return Form(f"{levels} levels", (f"pipeline.levels={levels}",), "quantize")


def _rounded(bits: int, epochs: int = 0, rate: float = 0.0) -> Form:
    options = ["pipeline=quantize_uniform", f"pipeline.bits={bits}"]
    if epochs:
        options += [f"pipeline.tuning_epochs={epochs}", f"training.learning_rate={rate}"]
    return Form(
        f"{bits} bits, a scale each channel{', trained on' * bool(epochs)}", options, "quantize"
    )


def _pruned(sparsity: float, epochs: int, rate: float, *levels: str) -> Form:
    name = f"{100 * sparsity:.0f} % sparse, imitated, {'chosen levels' if not levels else ''}"
    how = levels or ("pipeline.levels=null", "pipeline.alpha_2=0.0003")
    if levels:
        name += f"{levels[0].partition('=')[2]} levels"
    options = (
        "pipeline=weights",
        f"pipeline.sparsity={sparsity}",
        "pipeline.scope=local",
        f"pipeline.finetune_epochs={epochs}",
        f"training.learning_rate={rate}",
        *how,
    )
    return Form(name, options)


def _trimmed(fraction: float, epochs: int, rate: float) -> Form:
    return Form(
        f"{100 * (1 - fraction):.0f} % of its units, imitated, 64 levels",
        (
            "pipeline=units",
            "pipeline.counted=units",
            f"pipeline.fraction={fraction}",
            f"pipeline.finetune_epochs={epochs}",
            f"training.learning_rate={rate}",
            "pipeline.levels=64",
        ),
    )


NETWORKS = {
    "silero_vad": Network(
        "Voice activity (silero-vad, 16 kHz)",
        "decisions_changed",
        False,
        0.01,
        _SPEECH,
        False,
        _TUNED,
        (
            _quantized(256),
            _quantized(64),
            _pruned(0.5, 6, 0.0002),
            _pruned(0.3, 4, 0.0002),
            _trimmed(0.5, 10, 0.001),
        ),
        aim="Aimed at: 1 % of the decisions changed in 96 kB. Reached: 1.02 % in 107.5 kB, "
        "0.67 % in 126.8 kB. Twelve epochs at 56 % sparsity and a rate of 0.0005, on nearly the "
        "same audio (449 files, 82 held out), gave 2.74 % in 88.6 kB.",
    ),
    "crepe_tiny": Network(
        "Pitch (CREPE tiny)",
        "pitch_within_50_cents",
        True,
        0.005,
        _NOTES,
        True,
        _TUNED,
        (
            _quantized(64),
            _quantized(16),
            _pruned(0.5, 3, 0.0002, "pipeline.levels=16"),
            _trimmed(0.3, 5, 0.0005),
        ),
    ),
    "ge2e": Network(
        "Voices (GE2E, resemblyzer)",
        "equal_error_rate",
        False,
        0.01,
        _SPEECH,
        False,
        _TUNED,
        (
            _quantized(256),
            _quantized(64),
            _rounded(6),
            _rounded(4, 6, 0.0005),
            _pruned(0.5, 6, 0.0005, "pipeline.levels=32"),
            _trimmed(0.5, 8, 0.001),
        ),
        ("data.train_segments=128", "data.fractions=[0.5,0.1,0.4]"),
        "Aimed at: an equal-error rate of 1.5 % in 478 kB, and the same with half of its units. "
        "Not reached: 1.53 % takes 610 kB, at 4 bits a weight with 42 steps of training on, and "
        "1.32 MB by k-means alone. Half of its weights or units need far more imitation "
        "than the 42 and 56 steps that were run: the distance of "
        "cosines of the sparse form fell from 0.56 to 0.48, and was falling.",
    ),
    "crepe_full": Network(
        "Pitch (CREPE full)",
        "pitch_within_50_cents",
        True,
        0.005,
        _FEW_NOTES,
        True,
        _TUNED,
        (
            _quantized(16),
            _pruned(0.9, 3, 0.0002, "pipeline.levels=16"),
            _trimmed(0.5, 3, 0.0005),
        ),
        aim="Aimed at: 90 % sparse in 1.9 MB, and 27 % of its multiplications, each as good as "
        "the original. Not tried: a step of imitation on eight parts of 0.08 s would take about "
        "15 s of one core. The first form alone has run, by its command: 6,315,240 bytes (14.1 "
        "times smaller), 0.02 % of the decisions changed, 75.4 % within 50 cents on 8 notes.",
    ),
}
