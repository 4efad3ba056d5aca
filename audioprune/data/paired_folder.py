"""The corpus of recordings that are there twice, noisy and clean, such as VoiceBank-DEMAND.

It finds the pairs and gives them their splits; nothing is mixed here.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from audioprune.data.audio import AudioStore, find_audio
from audioprune.data.checks import FileFacts, Finding
from audioprune.data.file_index import inspect_files
from audioprune.data.gathering import SHORTEST_SPEECH_S, check_choice, conversion_notes, names, refuse_leaks, stop_or_skip, tell
from audioprune.data.mixing import MixingRules, Source, by_group, collate, condition_name
from audioprune.data.pairing import Pair, find_pairs, read_conditions
from audioprune.data.splits import SPEAKER_RULES, SPLITS, assign_speech, share_out
from audioprune.dsp import rms_gain
from audioprune.errors import ConfigError, DataError, unknown_name
from audioprune.files import sha256, write_atomic

_LOG = logging.getLogger(__name__)
