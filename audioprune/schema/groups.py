"""Which classes the options of a group configure; their keys are read from the signatures.

Only names are here. `scripts/write_schema.py` reads the classes and writes signatures.json, which
is what a command line loads: nothing of this room imports torch.
"""

from __future__ import annotations

MODELS = {
    "fdnn": "audioprune.models.fdnn.FDNN",
    "lstm": "audioprune.models.lstm.LSTM",
    "tcnn": "audioprune.models.tcnn.TCNN",
    "gcrn": "audioprune.models.gcrn.GCRN",
    "gtcrn": "audioprune.models.gtcrn.GTCRN",
    "vgg": "audioprune.models.vgg.VGG",
    "resnet50": "audioprune.models.resnet.ResNet",
    "cp_resnet": "audioprune.models.cp_resnet.CPResNet",
    "densenet121": "audioprune.models.densenet.DenseNet",
    "dcae": "audioprune.models.dcae.DCAE",
    "wavenet": "audioprune.models.wavenet.WaveNet",
    "sing": "audioprune.models.sing.SING",
    "ddsp": "audioprune.models.ddsp.DDSP",
    "silero_vad": "audioprune.models.zoo.silero_vad.SileroVAD",
    "ge2e": "audioprune.models.zoo.ge2e.GE2E",
    "crepe": "audioprune.models.zoo.crepe.Crepe",
}
TASKS = {
    "enhancement": "audioprune.tasks.enhancement.Enhancement",
    "scenes": "audioprune.tasks.scenes.SceneClassification",
    "adversarial": "audioprune.tasks.adversarial.Adversarial",
    "next_sample": "audioprune.tasks.generation.NextSample",
    "reconstruction": "audioprune.tasks.generation.Reconstruction",
    "none": "audioprune.tasks.unscored.Unscored",
    "imitate": "audioprune.tasks.foreign.imitate.Imitate",
    "waveform_model": "audioprune.tasks.foreign.waveform_model.WaveformModel",
}
DATA = {
    "noisy_mixtures": "audioprune.data.speech.noisy_mixtures.NoisyMixtures",
    "paired_folder": "audioprune.data.speech.paired_folder.PairedFolder",
    "synthetic_speech": "audioprune.data.speech.synthetic_speech.SyntheticSpeech",
    "wsj0_mix": "audioprune.data.speech.wsj0_mix.Wsj0Mix",
    "tut2017": "audioprune.data.scenes.corpora.TutScenes",
    "tut2018": "audioprune.data.scenes.corpora.TutScenes",
    "class_folder": "audioprune.data.scenes.corpora.ClassFolder",
    "synthetic_scenes": "audioprune.data.scenes.synthetic.SyntheticScenes",
    "vctk": "audioprune.data.coded.corpora.vctk",
    "coded_folder": "audioprune.data.coded.corpora.coded_folder",
    "coded_synthetic": "audioprune.data.coded.corpora.coded_synthetic",
    "nsynth": "audioprune.data.notes.nsynth.nsynth",
    "tinysol": "audioprune.data.notes.studio_online.tinysol",
    "note_folder": "audioprune.data.notes.folder.note_folder",
    "synthetic_notes": "audioprune.data.notes.synthetic.synthetic_notes",
    "no_audio": "audioprune.data.nothing.NoCorpus",
    "audio_folder": "audioprune.data.audio.audio_folder.AudioFolder",
}
TARGETS = {"model": MODELS, "task": TASKS, "data": DATA}

KINDS = {
    "notes": "sample_rate duration_s segment_s lead_in_s notes_per_instrument split fractions seed"
    " resplit_seed on_bad_file cache_dir memory_mb",
    "scenes": "sample_rate n_fft hop_length mels duration_s seed on_bad_file cache_dir memory_mb",
    "coded": "codec kbps peak sample_rate segment stride train_segments valid_items test_items"
    " max_test_s seed on_bad_file cache_dir memory_mb",
    "speech": "sample_rate train_mixtures valid_mixtures test_mixtures train_snr_db"
    " train_snr_step_db test_snr_db segment_s max_test_s valid_share babble_share babble_talkers"
    " fresh_each_epoch rms_normalise augment_equaliser_db augment_speed augment_second_noise"
    " augment_level_db seed on_bad_file cache_dir memory_mb",
}
"""Keys that every corpus of a kind has; they come first in its configuration."""
OWN_ORDER = {"paired_folder", "no_audio", "audio_folder"}
"""Corpora whose keys come in the order of their signature."""


def first_keys(option: str) -> list[str]:
    """Return the keys that come first in the configuration of a corpus, by its option."""
    if option in OWN_ORDER or option not in DATA:
        return []
    return KINDS[DATA[option].split(".")[2]].split()


def class_name(option: str) -> str:
    """Return the name that messages give to the keys of an option, such as ``ResnetConfig``."""
    words = option.rstrip("0123456789").split("_")
    return "".join(word.capitalize() for word in words) + "Config"
