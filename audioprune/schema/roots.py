"""Which keys every verb has: seed, training numbers, runtime, and the tools' own keys.

An attribute with an annotation is said here in full, one that is a class is a group of keys. One
that is ``...`` is read from the class that ``reads`` names: type, range, default and meaning;
``takes`` takes all of its keys. `scripts/write_schema.py` reads this module.
"""

from __future__ import annotations

from typing import Annotated, Any

from audioprune.metrics import METRICS
from audioprune.ranges import OneOf, Range

MISSING = "???"
Seed = Annotated[int, Range(0, 2**31 - 1)]
Threads = Annotated[int, Range(1, 1024)]
Shown = Annotated[str, OneOf("table", "json", "csv")]


class RuntimeConfig:
    """What may change between two runs of the same experiment without changing its result.

    Attributes:
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        threads: CPU threads of torch.
        workers: Processes that load data: a number, or ``auto``, by cores and device.
        metric_workers: Processes and threads that compute metrics.
        score_batch: Seconds of audio that a model is given at once in scoring; null for one item
            on a CPU and 128 s on a device.
        sync_every: Training steps after which losses are read from the device, and checked; null
            for 1 on the CPU and 50 elsewhere.
        save_every_s: Seconds between two writes of the state of a training.
        tensorboard: Whether curves are written for TensorBoard.
        folder: Where run folders are made.
        cache: Cache folder; empty for the user's.
        force: Whether finished steps are done again.
        share: Whether runs that begin with the same training do it once.
        shared_folder: Where such trainings are kept; empty for ``shared`` in ``runtime.folder``.
        rehearse: Whether steps are only tried with few items, to say what the run will take.
    """

    device: str = "auto"
    threads: Threads = 1
    workers: str = "auto"
    metric_workers: Annotated[int, Range(0, 256)] = 2
    score_batch: Annotated[float | None, Range(above=0)] = None
    sync_every: Annotated[int | None, Range(1)] = None
    save_every_s: Annotated[float, Range(above=0)] = 30.0
    tensorboard: bool = False
    folder: str = "runs"
    cache: str = ""
    force: bool = False
    share: bool = True
    shared_folder: str = ""
    rehearse: bool = False


class TrainingConfig:
    """The numbers of training.

    Attributes:
        monitor: Validated value that decides which weights are best.
        finetune_epochs: Epochs of a fine-tuning after pruning.
        finetune_learning_rate: Its learning rate; null for that of training.
        ramp_begin: Share of the epochs, 0..1, before which the regularisers of a pipeline that has
            some are off.
        ramp_end: Share of the epochs from which on they are whole.
    """

    takes = "audioprune.training.settings.Settings"

    monitor: Annotated[str, OneOf("loss", *METRICS, "accuracy", "accuracy_macro")] = "loss"
    finetune_epochs: Annotated[int, Range(1)] = 10
    finetune_learning_rate: Annotated[float | None, Range(above=0)] = None
    ramp_begin: Annotated[float, Range(0, 1)] = 0.0
    ramp_end: Annotated[float, Range(0, 1)] = 0.0


class ScoringConfig:
    """What evaluation measures and keeps.

    Attributes:
        metrics: Metrics of the test set.
        audio_items: Items of each condition whose audio is kept.
        latency_repeats: Measurements of the latency; 0 for none.
    """

    metrics: list[str] = ["stoi", "estoi", "pesq_raw_nb", "pesq_nb", "pesq_wb", "si_sdr"]
    audio_items: Annotated[int, Range(0)] = 1
    latency_repeats: Annotated[int, Range(0)] = 5


class Root:
    """All keys of every verb that runs an experiment.

    Attributes:
        seed: Decides all random draws.
        checkpoint: Model file or run folder to start from.
        scale: How the experiment is scaled down, such as ``desk``; empty for the paper's scale.
        objective: What a job of a sweep returns, such as ``bytes_file`` or
            ``[bytes_file,-stoi@pruned]``; see docs/sweeps.md.
        tune: Chosen by ``+tune=option``; see the group.
        task, data, pipeline, model: Chosen by ``group=option``; see the groups.
        verb: Set by the command.
    """

    seed: Seed = 0
    checkpoint: str | None = None
    training = TrainingConfig
    scoring = ScoringConfig
    runtime = RuntimeConfig
    task: Any = MISSING
    data: Any = MISSING
    pipeline: Any = MISSING
    model: Any = MISSING
    scale: str = ""
    objective: Any = None
    tune: Any = None
    verb: str = ""


class TuneConfig:
    """A sweep that looks for the smallest model whose score drops by no more than is allowed.

    Attributes:
        metric: The score, of the last model of a run and of its uncompressed one.
        max_drop: How much worse it may be than that of the uncompressed model of the same run, in
            the unit of the tables: points of percent for STOI, ESTOI and accuracies.
        size: Column of the size, such as ``bytes_file`` or ``macs_per_second``.
        trials: Trials in all, those of earlier calls of the same command included.
        jobs: Trials that are chosen, and run, at once.
        seed: Decides what is tried.
        space: What is tried, by pipeline and key, in the syntax of a sweep.
    """

    metric: Annotated[str, OneOf(*METRICS, "accuracy", "accuracy_macro")] = "stoi"
    max_drop: Annotated[float, Range(0)] = MISSING  # type: ignore[assignment]
    size: str = "bytes_file"
    trials: Annotated[int, Range(1)] = 20
    jobs: Annotated[int, Range(1)] = 1
    seed: Seed = 0
    space: dict[str, Any] = {}


class ReportRoot:
    """Keys of ``audioprune report``.

    Attributes:
        runs: Folder of runs, or a list of such folders.
        out: Where the report is written.
        report: Chosen by ``report=option``.
        clips: Recordings of each corpus that the page plays: the worst, the best, and between.
        watch: Whether the report is written again while runs go on, and its page loads itself.
        quiet_s: Seconds without a change after which ``watch`` ends, if no run goes on.
    """

    runs: Any = "runs"
    out: str = "reports"
    report: Any = MISSING
    clips: Annotated[int, Range(0)] = 3
    watch: bool = False
    quiet_s: Annotated[float, Range(0)] = 60.0


class InfoRoot:
    """Keys of ``audioprune info``.

    Attributes:
        task, model: Chosen by ``group=option``; see the groups.
        checkpoint: Model file or run folder.
        format: How the answer is printed.
        explain: Whether the units of every layer are said, and drawn on a page.
        out: That page; null for one in the current folder with the name of the model.
    """

    task: Any = None
    model: Any = MISSING
    checkpoint: str | None = None
    format: Shown = "table"
    explain: bool = False
    out: str | None = None


class DataRoot:
    """Keys of ``audioprune data``.

    Attributes:
        action: What is done with the corpus.
        root: Any folder of audio to check, in place of a corpus.
        out: Where a manifest is written.
        data: Chosen by ``data=option``; see the groups.
    """

    action: Annotated[str, OneOf("check", "prepare", "manifest")] = "check"
    root: str | None = None
    out: str | None = None
    data: Any = MISSING
    runtime = RuntimeConfig


class ListenRoot:
    """Keys of ``audioprune listen``.

    Attributes:
        action: Whether a test is made or its ratings are evaluated.
        results: Files of ratings.
        out: Where the test is written.
        data: Chosen by ``data=option``; see the groups.
        threads: CPU threads of torch.
    """

    reads = "audioprune.listening.export.Plan"

    action: Annotated[str, OneOf("export", "stats")] = "export"
    test = "custom"
    systems: dict[str, str] = {}
    model: dict[str, Any] = {}
    items = seed = duration_s = conditions = loudness_lufs = title = page = webmushra = ...
    results: Any = None
    out: str | None = None
    data: Any = MISSING
    threads: Threads = 1


class GenerateRoot:
    """Keys of ``audioprune generate``.

    Attributes:
        checkpoint: Model file or run folder.
        out: The audio file to write.
        task, data, model: Chosen by ``group=option``; see the groups.
    """

    reads = "audioprune.commands.on_audio.make_note.Request"

    checkpoint: str | None = None
    pitch = velocity = family = instrument = reference = duration_s = seed = temperature = ...
    out: str = "note.wav"
    task: Any = None
    data: Any = None
    model: Any = None
    runtime = RuntimeConfig


class ExportRoot:
    """Keys of ``audioprune export``.

    Attributes:
        checkpoint: Model file or run folder.
        out: The file to write; null for ``model.onnx`` or ``model.pt``. For C a folder, ``model``.
        format: What runs the file: ONNX Runtime, torch without this package, or any C compiler.
        streaming: Whether the form is written that maps one frame and its states to one frame;
            else whole signals, in C of the example's length.
        transform: Whether the task's transform stands ``inside``, so that samples go in and out,
            or ``outside``.
        int8: Which eight-bit forms are written beside it: ``dynamic`` or ``static`` of an ONNX
            file, ``weights`` of C.
        score_items: Items of each test condition on which eight-bit files are scored, where the
            checkpoint's corpus is at hand; 0 tells the signal's change alone.
        audio: A recording at the task's rate that everything is compared, calibrated and timed
            on; null for the model's own example.
        time_dim: Axis of time of the input, for a model that does not say it.
        threads: CPU threads of torch.
        shown: How the rows are printed.
        task, data, model: Chosen by ``group=option``; see the groups. A file brings its own.
    """

    checkpoint: str | None = None
    out: str | None = None
    format: Annotated[str, OneOf("onnx", "torchscript", "c", "executorch")] = "onnx"
    streaming: bool = False
    transform: Annotated[str, OneOf("outside", "inside")] = "outside"
    int8: list[str] = []
    score_items: Annotated[int, Range(0)] = 4
    audio: str | None = None
    time_dim: Annotated[int | None, Range(0)] = None
    threads: Threads = 1
    shown: Shown = "table"
    task: Any = None
    data: Any = None
    model: Any = None


class EnhanceRoot:
    """Keys of ``audioprune enhance``.

    Attributes:
        checkpoint: Model file or run folder.
        input: A file, a folder, or ``-`` for raw samples on a pipe; ``in=`` is the same.
        out: The file or folder to write, or ``-``.
        listen: ``mic``, to play what a microphone hears, enhanced; needs sounddevice.
        dry: Share of the unprocessed signal in the output; null for that of the task.
        level_db: Level of the speech in dB below full scale, as root mean square; null measures
            that of a whole file, and on a pipe that of what was heard so far.
        resample: Whether audio at another rate than the model's is allowed.
        block_s: Seconds of a file that are in memory at once.
        jobs: Processes that share the files of a folder.
        overwrite: Whether files that are there already are replaced.
        pcm: Coding of raw samples.
        rate: Sample rate of raw samples in Hz.
        channels: Interleaved channels of raw samples.
        task, model: Chosen by ``group=option``; see the groups.
    """

    checkpoint: str | None = None
    input: str | None = None
    out: str | None = None
    listen: Annotated[str | None, OneOf("mic")] = None
    dry: Annotated[float | None, Range(0, below=1)] = None
    level_db: Annotated[float | None, Range(-120, 0)] = None
    resample: bool = True
    block_s: Annotated[float, Range(0.1, 3600)] = 10.0
    jobs: Annotated[int, Range(1, 256)] = 1
    overwrite: bool = False
    pcm: Annotated[str, OneOf("s16le", "f32le")] = "s16le"
    rate: Annotated[int | None, Range(1000)] = None
    channels: Annotated[int, Range(1, 64)] = 1
    task: Any = None
    model: Any = None
    runtime = RuntimeConfig


class ApplyRoot:
    """Keys of ``audioprune apply``.

    Attributes:
        checkpoint: Model file or run folder.
        input: A file, a folder, or ``-`` for raw samples on a pipe; ``in=`` is the same.
        out: A table that ends in .csv or .json, of all files; null or ``-`` prints it. Anything
            else is a folder, with a table for every file.
        top: How many of the largest values are told, with their names; null for 3 of a classifier,
            and for all values of other networks.
        names: File with the names of the values, one a line; null for those of the corpus.
        output: Name or number of the output, where the network returns several.
        rate: Sample rate of raw samples in Hz; with files that of the network, where neither task
            nor model says it.
        format: Form of the tables in a folder, and of what is printed.
        jobs: Processes that share the files of a folder.
        overwrite: Whether files that are there already are replaced.
        pcm: Coding of raw samples.
        channels: Interleaved channels of raw samples.
        task, data, model: Chosen by ``group=option``; see the groups.
    """

    checkpoint: str | None = None
    input: str | None = None
    out: str | None = None
    top: Annotated[int | None, Range(1)] = None
    names: str | None = None
    output: str | None = None
    rate: Annotated[int | None, Range(1000)] = None
    format: Annotated[str, OneOf("csv", "json")] = "csv"
    jobs: Annotated[int, Range(1, 256)] = 1
    overwrite: bool = False
    pcm: Annotated[str, OneOf("s16le", "f32le")] = "s16le"
    channels: Annotated[int, Range(1, 64)] = 1
    task: Any = None
    data: Any = None
    model: Any = None
    runtime = RuntimeConfig


class DoctorRoot:
    """Keys of ``audioprune doctor``.

    Attributes:
        format: How the answer is printed.
    """

    format: Shown = "table"


ROOTS = {
    "root": Root,
    "report": ReportRoot,
    "info": InfoRoot,
    "data": DataRoot,
    "listen": ListenRoot,
    "generate": GenerateRoot,
    "export": ExportRoot,
    "enhance": EnhanceRoot,
    "apply": ApplyRoot,
    "doctor": DoctorRoot,
}
TUNES = {"smallest": TuneConfig}
