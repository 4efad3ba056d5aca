"""What file names say of notes."""

from __future__ import annotations

import pytest

from audioprune.data.notes.names import pitch_of_name, read_name


def test_note_names() -> None:
    names = {
        "C4": 60,
        "A4": 69,
        "C#4": 61,
        "Bb3": 58,
        "Gs2": 44,
        "Csharp4": 61,
        "Eflat5": 75,
        "C-1": 0,
        "G9": 127,
        "B♭3": 58,
        "a4": 69,
    }
    assert {name: pitch_of_name(name) for name in names} == names
    assert [pitch_of_name(name) for name in ("A9", "C", "H4", "C##4", "C44", "Cb-1")] == [None] * 6
    assert pitch_of_name("C3", middle_c=3) == 60


@pytest.mark.parametrize(
    ("stem", "pitch", "velocity", "before"),
    [
        ("organ_electronic_044-055-127", 55, 127, "organ_electronic_044"),
        ("Fl-ord-C#4-mf-N-T14d", 61, 75, "Fl-ord"),
        ("violin_As3_1_mezzo-piano_arco-normal", 58, 62, "violin"),
        ("piano_A4", 69, None, "piano"),
        ("piano-p060-v100", 60, 100, "piano"),
        ("midi60", 60, None, ""),
        ("marimba 060", 60, None, "marimba"),
        ("take 2 guitar e3 forte", 52, 100, "take 2 guitar"),
        ("Vc-arco-harmonic-G#5-fortissimo", 80, 127, "Vc-arco-harmonic"),
        ("a1_C4", 60, None, "a1"),
        ("synth-200-C3", 48, None, "synth-200"),
    ],
)
def test_pitch_and_velocity_of_names(
    stem: str, pitch: int, velocity: int | None, before: str
) -> None:
    found = read_name(stem)
    assert (found.pitch, found.velocity, found.before, found.reason) == (
        pitch,
        velocity,
        before,
        "",
    )


@pytest.mark.parametrize("stem", ["kick", "C4_to_E4", "loop_12_34", "v100", "Cello", "Abba4"])
def test_names_without_one_pitch_say_why(stem: str) -> None:
    found = read_name(stem)
    assert found.pitch is None and found.reason.startswith("names ")
