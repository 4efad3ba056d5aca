"""What ``audioprune VERB --help`` says of each verb: a sentence, five commands, the main keys.

``PAGES`` holds them by verb. What a key accepts and means is not here but read from the
signatures; tests compose every command and look every key up.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Page:
    """What is said of a verb.

    Attributes:
        text: What it does, in lines that are joined.
        examples: Commands after ``audioprune``, each with what it does.
        keys: The keys that most people need, by name.
    """

    text: tuple[str, ...]
    examples: tuple[tuple[str, str], ...]
    keys: tuple[str, ...]


_TRAINING = (
    *("training.epochs", "training.batch_size", "training.learning_rate"),
    *("training.precision", "training.early_stop"),
)
_RUNTIME = ("runtime.device", "runtime.threads", "runtime.folder", "runtime.force")
_MEASURED = ("scoring.metrics", "scoring.audio_items")

PAGES: dict[str, Page] = {
    "train": Page(
        (
            "Trains a model on a corpus, writes it as model.safetensors and scores that file.",
            "The same command again skips what is done and goes on where it was stopped.",
        ),
        (
            ("a speech enhancer on the embedded corpus", "train experiment=p2/fdnn_demo"),
            (
                "another network, fewer epochs",
                "train model=lstm model.width=256 training.epochs=5",
            ),
            (
                "your own audio",
                "train experiment=p2/fdnn_desk data=noisy_mixtures "
                "data.speech_root=/audio/speech data.noise_root=/audio/noise",
            ),
            (
                "on a GPU",
                "train experiment=p2/gcrn_desk runtime.device=cuda training.precision=bf16",
            ),
            ("what it would take", "train experiment=p2/fdnn_desk runtime.rehearse=true"),
        ),
        ("seed", *_TRAINING, "pipeline.lambda_1", *_MEASURED, *_RUNTIME),
    ),
    "prune": Page(
        (
            "Trains a model (or takes checkpoint=FILE), removes what is not needed, quantizes the",
            "rest, packs it into model.apz, reads that file back and scores it.",
            "The same command again skips what is done and goes on where it was stopped.",
        ),
        (
            ("minutes on two cores, nothing to download", "prune experiment=p2/fdnn_demo"),
            (
                "your own audio",
                "prune experiment=p2/fdnn_desk data=noisy_mixtures "
                "data.speech_root=/audio/speech data.noise_root=/audio/noise",
            ),
            (
                "a trained model, to a sparsity",
                "prune checkpoint=model.safetensors pipeline=magnitude pipeline.sparsity=0.9",
            ),
            ("your own network", "prune model=mynet:MyNet checkpoint=weights.pt pipeline=units"),
            (
                "four runs, two at once",
                "prune -m experiment=p2/fdnn_desk pipeline.lambda_1=0,1 seed=0,1 "
                "hydra/launcher=joblib hydra.launcher.n_jobs=2",
            ),
        ),
        (
            *("seed", "checkpoint", "pipeline.alpha_1_relative", "pipeline.max_iterations"),
            *("pipeline.levels", "pipeline.finetune_epochs", *_TRAINING[:3], *_MEASURED),
            *_RUNTIME,
        ),
    ),
    "quantize": Page(
        (
            "Shares the weight values of a trained model by k-means, packs it into model.apz and",
            "scores that file. Corpus and task are those that the model file names.",
        ),
        (
            ("a trained model", "quantize checkpoint=model.safetensors"),
            ("16 values a tensor", "quantize checkpoint=model.safetensors pipeline.levels=16"),
            (
                "as few as a loss of 1 % allows",
                "quantize checkpoint=model.safetensors pipeline.alpha_2_relative=0.01",
            ),
            ("without audio", "quantize model=mynet:MyNet checkpoint=weights.pt"),
            (
                "three sizes",
                "quantize -m checkpoint=model.safetensors pipeline.levels=8,16,32",
            ),
        ),
        (
            *("checkpoint", "pipeline.levels", "pipeline.alpha_2", "pipeline.alpha_2_relative"),
            *("pipeline.sensitivity_items", "seed", *_MEASURED, *_RUNTIME),
        ),
    ),
    "eval": Page(
        (
            "Scores a model file as it is on disk, on the corpus that it was trained for unless",
            "another one is named.",
        ),
        (
            ("as it was trained", "eval checkpoint=model.apz"),
            (
                "on your own audio",
                "eval checkpoint=model.apz data=noisy_mixtures "
                "data.speech_root=/audio/speech data.noise_root=/audio/noise",
            ),
            ("at one SNR", "eval checkpoint=model.apz 'data.test_snr_db=[0]'"),
            ("other metrics", "eval checkpoint=model.apz 'scoring.metrics=[stoi,pesq_wb]'"),
            ("for a program", "eval checkpoint=model.apz format=json"),
        ),
        ("checkpoint", *_MEASURED, "scoring.latency_repeats", "seed", *_RUNTIME),
    ),
    "report": Page(
        (
            "Joins runs into tables (csv, md, tex, json), figures and one page, report.html.",
            "Runs on different corpora stand in blocks of their own.",
        ),
        (
            ("everything under runs/", "report runs=runs"),
            ("again and again while a sweep runs", "report runs=runs/prune watch=true"),
            ("several folders", "report 'runs=[runs/p2,runs/p4]' out=reports/both"),
            ("one paper's tables and claims", "report runs=runs/p2 report=p2 out=reports/p2"),
            ("parts of it", "report runs=runs/p2 report=p2 'report.only=[table1,claims]'"),
        ),
        ("runs", "out", "report.claims", "clips", "watch"),
    ),
    "info": Page(
        (
            "Says what a model costs: parameters, bytes, multiplications for one second of audio,",
            "layer by layer. Nothing is trained and no audio is read.",
        ),
        (
            ("a model of this package", "info model=gcrn"),
            ("narrower", "info model=gcrn model.width=0.5"),
            ("a model file", "info checkpoint=model.apz"),
            ("your own network", "info model=mynet:MyNet model.example=[1,100,161]"),
            ("which units can be removed, with a page", "info model=lstm explain=true"),
        ),
        ("checkpoint", "explain", "out", "format"),
    ),
    "data": Page(
        (
            "Checks, prepares or lists a corpus. A check names every cut, broken, silent, clipped",
            "or doubled file with its reason, and the same audio in two splits; exit code 3 then.",
        ),
        (
            ("any folder of audio", "data action=check root=/audio/speech"),
            (
                "what a training would see",
                "data action=check data=noisy_mixtures data.speech_root=/audio/speech "
                "data.noise_root=/audio/noise",
            ),
            ("make the embedded corpus", "data action=prepare data=synthetic_speech"),
            (
                "a list of all items",
                "data action=manifest data=class_folder data.root=/audio/scenes out=list.jsonl",
            ),
            ("for a program", "data action=check root=/audio/speech format=json"),
        ),
        ("action", "root", "out"),
    ),
    "listen": Page(
        (
            "Makes a listening test of named models, a page that opens from disk, and evaluates",
            "the ratings that listeners saved.",
        ),
        (
            ("two models", "listen systems.large=model.safetensors systems.small=model.apz"),
            (
                "four items, in a folder of your choice",
                "listen systems.small=model.apz items=4 out=listening/mine",
            ),
            (
                "on your own audio",
                "listen systems.small=model.apz data=noisy_mixtures "
                "data.speech_root=/audio/speech data.noise_root=/audio/noise",
            ),
            ("what listeners said", "listen action=stats 'results=[anna.csv,ben.csv]'"),
            ("the same for a program", "listen action=stats results=anna.csv format=json"),
        ),
        (
            *("action", "systems", "items", "duration_s", "conditions", "loudness_lufs"),
            *("title", "results", "out", "seed"),
        ),
    ),
    "generate": Page(
        ("Makes a note with a trained model of notes and writes it as a sound file.",),
        (
            ("middle C", "generate checkpoint=model.safetensors pitch=60 out=note.wav"),
            ("louder", "generate checkpoint=model.safetensors pitch=60 velocity=127"),
            ("shorter", "generate checkpoint=model.safetensors pitch=48 duration_s=1"),
            ("like a recording", "generate checkpoint=model.safetensors reference=guitar.wav"),
            ("another draw", "generate checkpoint=model.safetensors pitch=60 seed=7"),
        ),
        (
            *("checkpoint", "pitch", "velocity", "family", "instrument", "reference"),
            *("duration_s", "temperature", "seed", "out"),
        ),
    ),
    "enhance": Page(
        (
            "Runs a trained enhancer on a file, a folder, a pipe of raw samples or a microphone.",
            "Rate, channels and length of the output are those of the input.",
        ),
        (
            ("one file", "enhance checkpoint=model.apz in=talk.wav out=clean.wav"),
            ("a folder, two processes", "enhance checkpoint=model.apz in=talks out=clean jobs=2"),
            ("leave some noise", "enhance checkpoint=model.apz in=talk.wav out=clean.wav dry=0.1"),
            ("a pipe", "enhance checkpoint=model.apz in=- out=- rate=16000"),
            ("a microphone", "enhance checkpoint=model.apz listen=mic"),
        ),
        (
            *("checkpoint", "input", "out", "listen", "dry", "level_db", "resample", "block_s"),
            *("jobs", "overwrite", "pcm", "rate", "channels", "runtime.device"),
        ),
    ),
    "apply": Page(
        ("Tells what a classifier, or any other network, says of audio files, as a table.",),
        (
            ("one file, printed", "apply checkpoint=model.apz in=street.wav"),
            ("a folder, into one table", "apply checkpoint=model.apz in=clips out=told.csv"),
            ("a table for every file", "apply checkpoint=model.apz in=clips out=tables jobs=2"),
            ("the best name alone", "apply checkpoint=model.apz in=street.wav top=1"),
            ("for a program", "apply checkpoint=model.apz in=street.wav format=json"),
        ),
        (
            *("checkpoint", "input", "out", "top", "names", "output", "rate", "format"),
            *("jobs", "overwrite", "runtime.device"),
        ),
    ),
    "export": Page(
        (
            "Writes a model for another runtime, compares it there with torch, and times it.",
            "Whole signals, or frame by frame with streaming=true.",
        ),
        (
            ("ONNX", "export checkpoint=model.apz out=small.onnx"),
            ("frame by frame", "export checkpoint=model.apz streaming=true out=frame.onnx"),
            ("eight bits beside it", "export checkpoint=model.apz 'int8=[dynamic]'"),
            ("C, without any library", "export checkpoint=model.apz format=c out=small_c"),
            ("TorchScript", "export checkpoint=model.apz format=torchscript out=small.pt"),
        ),
        (
            *("checkpoint", "out", "format", "streaming", "transform", "int8", "audio"),
            *("time_dim", "threads", "shown"),
        ),
    ),
    "doctor": Page(
        (
            "Says whether this machine has what audioprune needs; with experiment=NAME, what a",
            "run would take: seconds a step, memory, disk, and what would stop it.",
        ),
        (
            ("packages, compiler, devices, folders", "doctor"),
            ("for a program", "doctor format=json"),
            ("what an experiment would take", "doctor experiment=p2/fdnn_desk"),
            ("at paper size, on a GPU", "doctor experiment=p2/gcrn runtime.device=cuda"),
            (
                "the same, through another verb",
                "prune experiment=p2/fdnn_desk runtime.rehearse=true",
            ),
        ),
        ("format",),
    ),
}
