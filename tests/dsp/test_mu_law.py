"""Mu-law against the closed form and against torchaudio."""

from __future__ import annotations

import math

import pytest
import torch

from audioprune import dsp
from audioprune.errors import ConfigError, DataError
from audioprune.torchaudio_loader import make_importable


def test_mu_law():
    values = torch.tensor([-1.0, 0.0, 1.0, 0.5])
    y = math.log(1 + 255 * 0.5) / math.log(256)
    assert dsp.mu_law_encode(values).tolist() == [0, 128, 255, round((y + 1) / 2 * 255)]
    indices = torch.arange(256)
    assert torch.equal(dsp.mu_law_encode(dsp.mu_law_decode(indices)), indices)
    assert dsp.mu_law_encode(torch.linspace(-1, 1, 999), 16).unique().tolist() == list(range(16))
    with pytest.raises(DataError, match="peak of 1.5"):
        dsp.mu_law_encode(torch.tensor([1.5]))
    with pytest.raises(DataError, match="nan"):
        dsp.mu_law_encode(torch.tensor([0.0, math.nan]))
    with pytest.raises(ConfigError, match="at least 2"):
        dsp.mu_law_encode(values, 1)


def test_mu_law_equals_torchaudio():
    make_importable()
    from torchaudio.functional import mu_law_decoding, mu_law_encoding

    values, indices = torch.linspace(-1, 1, 64001), torch.arange(256)
    assert torch.equal(dsp.mu_law_encode(values), mu_law_encoding(values, 256))
    torch.testing.assert_close(
        dsp.mu_law_decode(indices), mu_law_decoding(indices, 256), rtol=0, atol=1e-8
    )
