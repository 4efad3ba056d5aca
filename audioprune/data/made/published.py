"""How large the published corpora are that a configuration can name: ``PUBLISHED``.

What a configuration declares itself, such as ``data.train_mixtures``, comes before these numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

from audioprune.data.speech.wsj0_mix import PaperNumbers


@dataclass(frozen=True)
class Published:
    """Counts of items, and lengths where no configuration says them.

    Attributes:
        train: Training items, or utterances where items are cut from them.
        valid: Validation items.
        test: Test items of each condition.
        source: Where the numbers are printed.
        mean_s: Mean length of an utterance in seconds; 0 where the configuration says the length.
        classes: Classes of scenes.
        instruments: Instruments of notes.
        families: Families of notes.
        pitches: Lowest and highest MIDI pitch.
        noises: Test noises of mixtures.
    """

    train: int
    valid: int
    test: int
    source: str
    mean_s: float = 0.0
    classes: int = 0
    instruments: int = 0
    families: int = 0
    pitches: tuple[int, int] = (21, 108)
    noises: tuple[str, ...] = ()


_WSJ0 = PaperNumbers()
PUBLISHED = {
    "wsj0_mix": Published(
        _WSJ0.train_mixtures,
        _WSJ0.valid_mixtures,
        _WSJ0.test_mixtures,
        "Tan & Wang (2021); about 500 hours of mixtures by Pandey & Wang (2019)",
        mean_s=500 * 3600 / _WSJ0.train_mixtures,
        noises=("babble", "cafeteria"),
    ),
    "vctk": Published(
        10_802,
        770,
        824,
        "Valentini-Botinhao (2017): 11,572 utterances of 28 speakers, of whom 2 validate, in 9.4 "
        "hours, and 824 of 2",
        mean_s=9.4 * 3600 / 11_572,
    ),
    "nsynth": Published(
        8_048,
        1_006,
        1_006,
        "Esling et al. (2020): ten notes of 1,006 instruments, shared out 80/10/10",
        instruments=1_006,
        families=11,
        pitches=(9, 119),
    ),
    "tinysol": Published(
        2_330,
        291,
        292,
        "Cella et al. (2020): 2,913 notes of 14 instruments, shared out 80/10/10",
        instruments=14,
        families=4,
        pitches=(22, 108),
    ),
    "tut2017": Published(4_680, 468, 1_620, "Chen, Table 3; a tenth validates", classes=15),
    "tut2018": Published(6_122, 612, 2_518, "Chen, Table 4; a tenth validates", classes=10),
}
"""By the name of the option in ``conf/data``."""
