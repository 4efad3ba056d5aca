"""A small copy of TUT 2017 that several tests of scenes read."""

from __future__ import annotations

import pytest
from scene_trees import small_tut, tut_2017

from audioprune.data.scenes.corpora import TutScenes


@pytest.fixture(scope="module")
def tut(tmp_path_factory: pytest.TempPathFactory) -> TutScenes:
    """A small copy of TUT 2017, 24-bit stereo at 44.1 kHz, with Windows line ends."""
    return small_tut(tut_2017(tmp_path_factory.mktemp("tut")))
