"""The corpus of noisy mixtures made from any folder of speech and any folder of noise.

``NoisyMixtures`` decides which files are used where and how many items there are: ``noisy`` and
``clean`` of shape (T,). How one item is mixed is written in mixing.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from audioprune.data.corpus import FileCorpus, Found, Record
from audioprune.data.files.audio import AUDIO_SUFFIXES, AudioStore
from audioprune.data.files.checks import FileFacts, Finding
from audioprune.data.files.messages import left_out_notes
from audioprune.data.speech.augmentation import Augmentation
from audioprune.data.speech.mixed_items import Mixtures, collate
from audioprune.data.speech.mixing import Mixer, condition_name, require_talkers
from audioprune.data.speech.mixing_rules import MixingRules, check_counts
from audioprune.data.splits.assign import Assigned, assign_speech, lend_speakers
from audioprune.data.splits.corpus_folder import audio_below
from audioprune.data.splits.folders import SPLITS, below_splits, has_split_folders
from audioprune.data.splits.leaks import Member, copies, named_recordings, speech_keys, suspected
from audioprune.data.splits.noise import NOISE_RULES, assign_noise, noise_of
from audioprune.data.splits.recordings import NAME_RULE, Links
from audioprune.data.splits.shares import check_fractions
from audioprune.data.splits.sources import (
    IDLE,
    SHORTEST_NOISE_S,
    SHORTEST_SPEECH_S,
    Source,
    SourceSet,
    by_group,
    by_split,
    find_sources,
    refuse_leaks,
    share_noise,
    speaker_notes,
    speech_size,
)
from audioprune.data.splits.speakers import SpeakerRule
from audioprune.errors import ConfigError, DataError, unknown_name
from audioprune.files import sha256
from audioprune.ranges import NoKey, OneOf, Range

FILE_KEYS = (
    "test_noise_root",
    "split",
    "fractions",
    "speaker_from",
    "speaker",
    "speaker_csv",
    "noise_from",
)
"""Arguments that say which files are used; corpora of known files set them for the user."""


@dataclass(frozen=True, kw_only=True)
class _Found(Found):
    """Also the files by role, facts of all of them, and what mixes them."""

    mixer: Mixer
    used: dict[str, list[Source]]
    facts: list[FileFacts]


class NoisyMixtures(FileCorpus[_Found]):
    """Mixtures of any speech with any noise at exact signal-to-noise ratios.

    Speech: ``<root>/<speaker>/...`` or ``<root>/{train,valid,test}/<speaker>/...`` (``val`` and
    ``dev`` are valid, LibriSpeech's names are known). Noise: any files, or
    ``<root>/{train,valid,test}/...``; a noise is named after its file up to the first ``_``, so
    that ``babble_8talkers.wav`` is ``babble``, else after its folder, else after its file. A test
    condition is one noise at one SNR, ``babble_-5dB``.

    No speaker and no noise recording of the test set is heard in training, as far as names and
    equal audio tell. Without a folder ``valid`` for speech, training speakers are set aside;
    without one for noise, validation uses other parts of the training files. Utterances below 0.5
    s, noises below 0.1 s and silent files are left out. Noise shorter than the speech is repeated
    from a random start.

    Args:
        speech_root: Folder of speech.
        noise_root: Folder of noise.
        test_noise_root: Folder of test noise, if it is another; then ``noise_root`` is for
            training only.
        sample_rate: Rate of all items in Hz; files of other rates are resampled, several channels
            averaged.
        split: None takes folders named after splits, else shares of the speakers; ``"folders"``,
            ``"fraction"``, a list file or a mapping as in ``split_list.read_split_list``.
        fractions: Shares of speakers (and of noise files) in train, valid and test.
        speaker_from: ``"auto"``, ``"folder"``, ``"prefix"`` (of the file name) or ``"file"``, see
            ``speakers.SpeakerRule``.
        speaker: Regular expression with a group ``speaker``, in place of ``speaker_from``.
        speaker_csv: Table of paths and speakers, in place of ``speaker_from``.
        noise_from: ``"auto"``: names say which noise files are one recording, see
            ``recordings.recording_of``. ``"file"``: each is one.
        valid_share: Share of the training speakers that are moved to validation in any case, 0..1.
        train_mixtures: Items of an epoch, 1 or more; None: one for each utterance.
        valid_mixtures: Validation items; None: one for each utterance.
        test_mixtures: Items of each test condition; None: one for each utterance.
        train_snr_db: Lowest and highest SNR in dB of training and validation.
        train_snr_step_db: Distance of the possible values in dB; None for any value in between.
        test_snr_db: SNRs of the test conditions in dB.
        segment_s: Length of a random part of each training utterance in seconds; None for whole
            utterances.
        max_test_s: Most seconds of a validation or test utterance; None for whole utterances.
        babble_share: Share of the training and validation noises that are mixed from training
            speakers, 0..1.
        babble_talkers: Fewest and most speakers of such a noise; never the target's. With fewer
            speakers, all others.
        fresh_each_epoch: Whether every epoch has new mixtures.
        rms_normalise: Whether a mixture is scaled to a root mean square of 1, and its clean speech
            by the same factor.
        augment_equaliser_db: Largest gain or loss in dB of a random smooth curve over the
            frequencies, drawn for speech and noise of every training item apart.
        augment_speed: Slowest and fastest factor on the speed of training speech.
        augment_second_noise: Share of the training items, 0..1, that get a second noise, up to 10
            dB below the first.
        augment_level_db: Largest random change in dB of the level of a training mixture.
        seed: Decides splits and mixtures.
        on_bad_file: ``"stop"`` or ``"skip"``.
        cache_dir: Where results of file checks are kept; empty for the user's cache folder.
        memory_mb: Most megabytes of decoded audio kept in memory.
        speech_suffixes: File name endings of speech.
        title: Name in tables.

    Attributes:
        sample_rate: Rate of all items in Hz.
        notes: What the user should know about the files, one line each, after ``prepare``.

    Raises:
        ConfigError: A value is out of its range.

    Source: Tan & Wang (ICASSP 2021): SNRs, level and splits; Pandey & Wang (ICASSP 2019): random
    utterance, SNR and cut of noise. Additions: training utterances come in shuffled passes, not
    independent draws, and ``babble_share``.
    """

    collate = staticmethod(collate)

    def __init__(
        self,
        speech_root: str | Path,
        noise_root: str | Path,
        *,
        test_noise_root: str | Path | None = None,
        sample_rate: Annotated[int, Range(1000, 192_000)] = 16000,
        split: str | Path | Mapping[str, Sequence[str]] | None = None,
        fractions: Annotated[Sequence[float], Range(0, 1)] = (0.8, 0.1, 0.1),
        speaker_from: str = "auto",
        speaker: str | None = None,
        speaker_csv: str | None = None,
        noise_from: Annotated[str, OneOf(*NOISE_RULES)] = "auto",
        train_mixtures: Annotated[int | None, Range(1)] = None,
        valid_mixtures: Annotated[int | None, Range(1)] = None,
        test_mixtures: Annotated[int | None, Range(1)] = None,
        train_snr_db: Annotated[Sequence[float], Range(-60, 100)] = (-5.0, 0.0),
        train_snr_step_db: Annotated[float | None, Range(above=0)] = None,
        test_snr_db: Annotated[Sequence[float], Range(-60, 100)] = (-5.0, 0.0, 5.0),
        segment_s: Annotated[float | None, Range(above=0)] = None,
        max_test_s: Annotated[float | None, Range(above=0)] = None,
        valid_share: Annotated[float, Range(0, below=1)] = 0.0,
        babble_share: Annotated[float, Range(0, 1)] = 0.0,
        babble_talkers: Annotated[Sequence[int], Range(1)] = (4, 8),
        fresh_each_epoch: bool = True,
        rms_normalise: bool = True,
        augment_equaliser_db: Annotated[float, Range(0, 24)] = 0.0,
        augment_speed: Annotated[Sequence[float], Range(0.5, 2)] = (1.0, 1.0),
        augment_second_noise: Annotated[float, Range(0, 1)] = 0.0,
        augment_level_db: Annotated[float, Range(0, 40)] = 0.0,
        seed: Annotated[int, Range(0)] = 0,
        on_bad_file: Annotated[str, OneOf("stop", "skip")] = "stop",
        cache_dir: str | None = None,
        memory_mb: Annotated[float, Range(0)] = 2048.0,
        speech_suffixes: Annotated[Sequence[str], NoKey()] = AUDIO_SUFFIXES,
        title: Annotated[str, NoKey()] = "noisy_mixtures",
    ) -> None:
        super().__init__(
            title,
            sample_rate,
            on_bad_file=on_bad_file,
            cache_dir=cache_dir,
            memory_mb=memory_mb,
        )
        pairs: tuple[tuple[str, Sequence[float]], ...] = (
            ("train_snr_db", train_snr_db),
            ("babble_talkers", babble_talkers),
            ("augment_speed", augment_speed),
        )
        for name, pair in pairs:
            if len(pair) != 2:
                raise ConfigError(
                    f"expected {name} as [lowest, highest], got {list(pair)}; give two values"
                )
        self.rules = MixingRules(
            sample_rate=sample_rate,
            train_snr_db=(float(train_snr_db[0]), float(train_snr_db[1])),
            train_snr_step_db=train_snr_step_db,
            test_snr_db=tuple(map(float, test_snr_db)),
            segment_s=segment_s,
            max_test_s=max_test_s,
            babble_share=babble_share,
            babble_talkers=(babble_talkers[0], babble_talkers[1]),
            fresh_each_epoch=fresh_each_epoch,
            rms_normalise=rms_normalise,
            seed=seed,
            augmentation=Augmentation(
                equaliser_db=augment_equaliser_db,
                speed=(float(augment_speed[0]), float(augment_speed[1])),
                second_noise=augment_second_noise,
                level_db=augment_level_db,
            ),
        )
        self.speakers = SpeakerRule(speaker_from, speaker, speaker_csv)
        if noise_from not in NOISE_RULES:
            raise ConfigError(unknown_name("noise_from", noise_from, NOISE_RULES))
        check_fractions(fractions)
        self.wanted = {"train": train_mixtures, "valid": valid_mixtures, "test": test_mixtures}
        check_counts(self.wanted, "one per utterance")
        self.speech_root = Path(speech_root).expanduser()
        self.noise_root = Path(noise_root).expanduser()
        self.test_noise_root = Path(test_noise_root).expanduser() if test_noise_root else None
        if self.test_noise_root and self.test_noise_root.resolve() == self.noise_root.resolve():
            raise ConfigError(
                f"expected test_noise_root apart from noise_root, got {noise_root} twice; give "
                f"another or leave it out"
            )
        self.split = split
        self.fractions = tuple(fractions)
        self.noise_from = noise_from
        self.valid_share = valid_share
        self.speech_suffixes = tuple(speech_suffixes)

    def train(self) -> Mixtures:
        """Return the training items; ``set_epoch`` chooses the epoch."""
        return self._items("train")

    def valid(self) -> Mixtures:
        """Return the validation items, the same in every epoch."""
        return self._items("valid")

    def tests(self) -> dict[str, Mixtures]:
        """Return the items of every test condition by name, noise by noise."""
        mixer, count = self._ready().mixer, self._count("test")
        conditions: dict[str, Mixtures] = {}
        for noise in by_group(mixer.noise["test"]):
            for snr_db in self.rules.test_snr_db:
                items = Mixtures(mixer, count, "test", (noise, snr_db))
                conditions[condition_name(noise, snr_db)] = items
        return conditions

    def fingerprint(self) -> str:
        """Return a hash of every file's place, content and use, and of all rules of mixing."""
        rows: list[list[Any]] = []
        for role, sources in self._ready().used.items():
            rows += [[role, source.identity()] for source in sources]
        counts = {split: self._count(split) for split in SPLITS}
        return sha256(json.dumps([self.rules.facts(), counts, rows], sort_keys=True).encode())

    def _facts(self) -> dict[str, Any]:
        mixer = self._ready().mixer
        facts: dict[str, Any] = {"sample_rate": self.sample_rate, "seed": self.rules.seed}
        for split in SPLITS:
            speech, noise = mixer.speech[split], mixer.noise[split]
            facts[split] = {
                "hours": round(sum(source.duration_s for source in speech) / 3600, 4),
                "speakers": len({source.group for source in speech}),
                "utterances": len(speech),
                "noise_files": len(noise),
                "noises": sorted({source.group for source in noise}),
                "mixtures": self._count(split),
            }
        return {**facts, "conditions": list(self.tests())}

    def scale(self) -> str:
        """Return what is trained on, such as ``synthetic_speech, 14 min, 24 speakers, ...``."""
        speech = speech_size(self.title, self._ready().mixer.speech["train"], self.speakers)
        often = " an epoch" if self.rules.fresh_each_epoch else ""
        return f"{speech}, {self._count('train')} mixtures{often}"

    def leaks(self) -> list[Finding]:
        """Return what is suspected in several splits, by names and by ear.

        That validation uses the training noises is meant so; see ``share_noise``.
        """
        found = self._ready()
        places: dict[str, dict[Path, Path]] = {"speech": {}, "noise": {}}
        for role, sources in found.used.items():
            for source in sources:
                places[role][source.path] = below_splits(Path(source.relative))
        recordings = named_recordings(places["noise"])
        keys = speech_keys(places["speech"])
        keys |= {path: {"recording": name} for path, name in recordings.items()}
        members = []
        for sources in found.used.values():
            members += [Member(each.path, each.split, keys.get(each.path, {})) for each in sources]
        return suspected(members, list(copies(found.facts)))

    def sources(self) -> list[Record]:
        """Return a record of every file."""
        records = []
        for role, sources in self._ready().used.items():
            for source in sources:
                entry = asdict(source)
                del entry["path"]
                place = {"kind": "file", "role": role, "path": entry.pop("relative")}
                records.append({**place, **entry})
        return records

    def manifest(self) -> list[Record]:
        """Return one record for the corpus, each file, and each validation and test mixture."""
        records = super().manifest()
        for name, items in {"valid": self.valid(), **self.tests()}.items():
            for index in range(len(items)):
                record = items.mixture(index).record
                records.append({"kind": "mixture", "condition": name, **record})
        return records

    def _rules(self) -> dict[str, Any]:
        return {"rules": self.rules.facts()}

    def _items(self, split: str) -> Mixtures:
        return Mixtures(self._ready().mixer, self._count(split), split)

    def _count(self, split: str) -> int:
        return self.wanted[split] or len(self._ready().mixer.speech[split])

    def _find(self) -> _Found:
        """Find, inspect and split the files.

        Raises:
            DataError: A folder is missing or wrong, files are bad, speakers or audio are shared
                between splits.
        """
        found = self._find_role(self.speech_root, "speech", SHORTEST_SPEECH_S)
        noise = self._find_role(self.noise_root, "noise", SHORTEST_NOISE_S)
        if self.test_noise_root:
            noise.join(self._find_role(self.test_noise_root, "noise", SHORTEST_NOISE_S))
        noise.sources, shared = share_noise(noise.sources)
        used = {"speech": list(found.sources), "noise": noise.sources}
        found.join(noise)
        doubled = refuse_leaks(found.facts, found.sources)
        speech_pools, noise_pools = by_split(used["speech"]), by_split(used["noise"])
        _refuse_empty(self.speech_root, "speech", speech_pools, found.notes)
        _refuse_empty(self.noise_root, "noise", noise_pools, found.notes)
        require_talkers(self.rules, speech_pools)
        store = AudioStore(self.sample_rate, self.memory_bytes)
        return _Found(
            notes=[
                *speaker_notes(self.speakers),
                *found.notes,
                *shared,
                *doubled,
                *left_out_notes(found.skipped),
            ],
            skipped=found.skipped,
            split_rules=[NAME_RULE, *found.rules],
            mixer=Mixer(self.rules, store, speech_pools, noise_pools),
            used=used,
            facts=found.facts,
        )

    def _find_role(self, root: Path, role: str, shortest_s: float) -> SourceSet:
        """Return the files of speech or noise below a folder, with their splits."""
        speech = role == "speech"
        suffixes = self.speech_suffixes if speech else AUDIO_SUFFIXES
        part = not speech and self.test_noise_root is not None
        return find_sources(
            root,
            role,
            audio_below(root, role, suffixes, part=part),
            self._assign_speech if speech else self._assign_noise,
            sample_rate=self.sample_rate,
            shortest_s=shortest_s,
            on_bad_file=self.on_bad_file,
            cache_dir=self.cache_dir,
        )

    def _assign_speech(
        self, root: Path, relative: Mapping[Path, Path], links: Links
    ) -> tuple[list[Assigned], list[str]]:
        assigned, notes = assign_speech(
            root, relative, self.split, self.fractions, self.speakers, self.rules.seed, links=links
        )
        assigned, lent = lend_speakers(assigned, self.valid_share, self.rules.seed)
        return assigned, [*notes, *lent]

    def _assign_noise(
        self, root: Path, relative: Mapping[Path, Path], links: Links
    ) -> tuple[list[Assigned], list[str]]:
        if root == self.test_noise_root:
            return _all_to("test", relative), []
        inside_splits = has_split_folders(list(relative.values()))
        if self.test_noise_root and not inside_splits:
            return _all_to("train", relative), []
        assigned, notes = assign_noise(
            root, relative, self.fractions, self.rules.seed, links, self.noise_from
        )
        if self.test_noise_root is None:
            return assigned, notes
        kept = [entry for entry in assigned if entry.split != "test"]
        return kept, [*notes, f"the test folder of {root} is not used"]


def _all_to(split: str, relative: Mapping[Path, Path]) -> list[Assigned]:
    """Return noise files that all get one split, since the user gave the test noises apart."""
    rule = "test_noise_root is given"
    return [
        Assigned(path, split, noise_of(place), place.as_posix(), rule)
        for path, place in relative.items()
    ]


def _refuse_empty(
    root: Path, role: str, pools: Mapping[str, Sequence[Source]], notes: Sequence[str]
) -> None:
    empty = [split for split in SPLITS if not pools[split]]
    if empty:
        idle = [note for note in notes if note.startswith(f"{role}: ") and IDLE in note]
        why = f" ({idle[0].removeprefix(f'{role}: ')})" if idle else ""
        raise DataError(
            f"{root}: expected {role} for all three splits, found none for "
            f"{', '.join(empty)}{why}; add files or folders"
        )
