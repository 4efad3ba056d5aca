"""Whether the bands of hearing are triangles that add up to 1 between the published centres."""

from __future__ import annotations

import torch

from audioprune.models.parts.erb import ErbBands, triangles


def test_triangles_add_up_to_one_and_peak_at_their_centres():
    bank = triangles(257, 65, 64, 16_000)
    assert bank.shape == (64, 192)
    torch.testing.assert_close(bank.sum(0), torch.ones(192))
    centres = bank.argmax(1).tolist()
    assert centres[:6] == [0, 1, 3, 5, 6, 8] and centres[-3:] == [180, 186, 191]
    assert bank.amax(1).tolist() == [1.0] * 64
    torch.testing.assert_close(bank[1, :4], torch.tensor([0.0, 1.0, 0.5, 0.0]))


def test_low_bins_stay_and_the_others_are_summed():
    bands = ErbBands(257, 65, 64, 16_000)
    spectrum = torch.zeros(1, 257)
    spectrum[0, 3], spectrum[0, 65 + 2] = 2.0, 4.0
    values = bands(spectrum)
    assert values.shape == (1, 129) and values[0, 3] == 2
    assert values[0, 65:69].tolist() == [0.0, 2.0, 2.0, 0.0]
    back = bands.back(torch.ones(1, 129))
    torch.testing.assert_close(back, torch.ones(1, 257))
    assert not bands.state_dict() and not list(bands.parameters())
