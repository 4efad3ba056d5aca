"""The mixtures of Tan & Wang: WSJ0 speech with the user's noises, in the paper's numbers.

``Wsj0Mix`` is a NoisyMixtures that counts what it finds against ``PaperNumbers``. WSJ0 and the
paper's noises are licensed and must be on disk.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from audioprune.data.corpus import WrappedCorpus
from audioprune.data.files.audio import AUDIO_SUFFIXES, has_audio
from audioprune.data.files.messages import first_names, listing
from audioprune.data.speech.noisy_mixtures import FILE_KEYS, NoisyMixtures
from audioprune.data.splits.folders import SPLITS
from audioprune.errors import DataError
from audioprune.ranges import PassedTo, Range

_SPEECH_FOLDER = "si_tr_s"
_DEPTH = 4
_TITLE = "wsj0_mix"


@dataclass(frozen=True)
class PaperNumbers:
    """The numbers of the paper.

    Source: Tan & Wang (ICASSP 2021): 101 speakers of si_tr_s as 89, 6 and 6, 320,000 training
    mixtures, 846 for validation and 846 for each test noise and SNR, 10,000 training noises, two
    test noises.
    """

    utterances: int = 12776
    speakers: tuple[int, int, int] = (89, 6, 6)
    train_mixtures: int = 320_000
    valid_mixtures: int = 846
    test_mixtures: int = 846
    train_noises: int = 10_000
    test_noises: int = 2


class Wsj0Mix(WrappedCorpus[NoisyMixtures]):
    """WSJ0 speech mixed by the protocol of Tan & Wang.

    Speech is expected in ``.../si_tr_s/<speaker>/*.wav`` (or ``.flac``, or uncompressed ``.wv1``);
    without folders of speakers its names count, such as ``011a0101``. The discs hold ``.wv1``
    files packed with shorten, which must be converted first: ``sph2pipe -f wav in.wv1 out.wav``.
    Where both are there, ``.wv1`` is ignored. Training noises are all files below
    ``train_noise_root``; test noises are named after their files, such as ``babble.wav``.

    Args:
        wsj0_root: ``si_tr_s`` or a folder above it.
        train_noise_root: Folder of training noises.
        test_noise_root: Folder of test noises.
        speakers: Split of the speakers as a list file or mapping, see
            ``split_list.read_split_list``; None draws 89, 6 and 6 by the seed, since the paper
            does not name them.
        allow_partial: Whether a corpus of other numbers is accepted; then the numbers of mixtures
            shrink with the utterances.
        train_mixtures: Other number of training mixtures; None for the paper's.
        valid_mixtures: Other number of validation mixtures.
        test_mixtures: Other number of mixtures for each test noise and SNR.
        train_snr_step_db: Distance of the possible training SNRs in dB; 1 as in Pandey & Wang
            (ICASSP 2019).
        fresh_each_epoch: Whether every epoch has new mixtures; the paper's are fixed.
        seed: Decides speakers and mixtures.
        **mixing: Any other argument of NoisyMixtures.

    Raises:
        ConfigError: A value is out of its range.
    """

    def __init__(
        self,
        wsj0_root: str | Path,
        train_noise_root: str | Path,
        test_noise_root: str | Path,
        *,
        speakers: str | Path | Mapping[str, Sequence[str]] | None = None,
        allow_partial: bool = False,
        train_mixtures: Annotated[int | None, Range(1)] = None,
        valid_mixtures: Annotated[int | None, Range(1)] = None,
        test_mixtures: Annotated[int | None, Range(1)] = None,
        train_snr_step_db: Annotated[float | None, Range(above=0)] = 1.0,
        fresh_each_epoch: bool = False,
        seed: Annotated[int, Range(0)] = 0,
        **mixing: Annotated[Any, PassedTo(NoisyMixtures, but=FILE_KEYS)],
    ) -> None:
        self.paper = PaperNumbers()
        self.wsj0_root = Path(wsj0_root).expanduser()
        self.allow_partial = allow_partial
        self.own_counts = {"train": train_mixtures, "valid": valid_mixtures, "test": test_mixtures}
        total = sum(self.paper.speakers)
        mixtures = NoisyMixtures(
            wsj0_root,
            train_noise_root,
            test_noise_root=test_noise_root,
            split=speakers or "fraction",
            fractions=tuple(count / total for count in self.paper.speakers),
            train_mixtures=train_mixtures,
            valid_mixtures=valid_mixtures,
            test_mixtures=test_mixtures,
            train_snr_step_db=train_snr_step_db,
            fresh_each_epoch=fresh_each_epoch,
            seed=seed,
            **{"title": _TITLE, **mixing},
        )
        super().__init__(mixtures)

    def _before(self) -> None:
        """Find the folder of speech, and prefer files that are unpacked."""
        self.inner.speech_root = find_speech(self.wsj0_root)
        unpacked = tuple(suffix for suffix in AUDIO_SUFFIXES if suffix != ".wv1")
        if has_audio(self.inner.speech_root, unpacked):
            self.inner.speech_suffixes = unpacked

    def _after(self) -> None:
        self._count(self.inner.describe())

    def _count(self, facts: Mapping[str, Any]) -> None:
        """Compare the numbers found with the paper's and set the numbers of mixtures."""
        utterances = sum(facts[split]["utterances"] for split in SPLITS)
        differing = self._differing(facts, utterances)
        if differing and not self.allow_partial:
            listed = "; expected ".join(differing)
            raise DataError(
                f"{self.wsj0_root}: expected {listed}; complete the corpus or use "
                f"data.allow_partial=true"
            )
        share = min(1.0, utterances / self.paper.utterances)
        mixtures = {
            "train": self.paper.train_mixtures,
            "valid": self.paper.valid_mixtures,
            "test": self.paper.test_mixtures,
        }
        for split, count in mixtures.items():
            self.inner.wanted[split] = self.own_counts[split] or max(1, round(share * count))
        if differing:
            self.inner.title += f" (partial: {utterances} of {self.paper.utterances} utterances)"
            self.inner.notes.append(
                f"not the paper's corpus: {'; '.join(differing)}; mixtures are scaled by "
                f"{share:.4g}"
            )

    def _differing(self, facts: Mapping[str, Any], utterances: int) -> list[str]:
        """Return each number that is not the paper's, with the paper's, in words."""
        paper = self.paper
        speakers = tuple(facts[split]["speakers"] for split in SPLITS)
        checks = [
            ("utterances", paper.utterances, utterances),
            ("speakers (train, valid, test)", paper.speakers, speakers),
            ("training noises", paper.train_noises, facts["train"]["noise_files"]),
            ("test noises", paper.test_noises, len(facts["test"]["noises"])),
        ]
        return [
            f"{what} {right}, found {given}" for what, right, given in checks if right != given
        ]


def find_speech(root: Path) -> Path:
    """Return the folder si_tr_s of WSJ0 at or below a folder.

    Raises:
        DataError: There is none, or more than one.
    """
    layout = f"WSJ0 at {root}: {root}/wsj0/{_SPEECH_FOLDER}/<speaker>/*.wav"
    if not root.is_dir():
        raise DataError(
            f"expected {layout}, found no such folder; give the path of your licensed copy"
        )
    if root.resolve().name == _SPEECH_FOLDER:
        return root
    found: list[Path] = []
    for folder, folders, _ in os.walk(root, followlinks=True):
        found += [Path(folder, name) for name in folders if name == _SPEECH_FOLDER]
        deep = len(Path(folder).relative_to(root).parts) >= _DEPTH
        # os.walk goes on into the folders that are left in the list.
        folders[:] = [] if deep else [name for name in sorted(folders) if name != _SPEECH_FOLDER]
    if len(found) == 1:
        return found[0]
    if found:
        raise DataError(
            f"expected one folder {_SPEECH_FOLDER} below {root}, found {first_names(found)}; put "
            f"all speaker folders into one"
        )
    above = [parent for parent in root.resolve().parents if parent.name == _SPEECH_FOLDER]
    hint = f"; point to {above[0]}" if above else "; check the path"
    raise DataError(f"expected {layout}, found {listing(root)}{hint}")
