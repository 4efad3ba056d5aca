"""What lies in several splits is one line."""

from __future__ import annotations

from pathlib import Path

from audioprune.data.splits.leaks import Member, suspected


def test_each_suspicion_is_one_line_with_files_splits_and_reason() -> None:
    paths = [Path(f"/x/metro_{number}.wav") for number in range(9)]
    members = [
        Member(path, split, {"recording": "metro"})
        for path, split in zip(paths, 5 * ["train"] + 4 * ["test"], strict=True)
    ]
    (finding,) = suspected(
        [*members, Member(paths[0], "valid", {"recording": "metro"})], [(paths[0], paths[1])]
    )
    assert finding.path == paths[5] and finding.reason == (
        "recording 'metro' is in train (metro_0.wav, metro_1.wav, metro_2.wav, ... 5 files) "
        "and test (metro_5.wav, metro_6.wav, metro_7.wav, ... 4 files)"
    )
    assert suspected(members[:5]) == []
