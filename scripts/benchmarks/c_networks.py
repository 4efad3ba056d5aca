"""What each network needs as C: one JSON line with ROM, RAM, multiplications, and its parity.

    python scripts/benchmarks/c_networks.py [--only NAME] [--shape]

Networks of the papers and public ones are untrained, at the size that is named. ``--shape`` counts
without compiling, which the largest need minutes for; otherwise ten seconds of frames are compared
with torch, by every C compiler that is there.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from audioprune.errors import AudiopruneError
from audioprune.export.c.files import c_files
from audioprune.export.c.writing import export_c
from audioprune.export.streaming import streaming_of, whole_of
from audioprune.models.cp_resnet import CPResNet
from audioprune.models.dcae import DCAE
from audioprune.models.ddsp import DDSP
from audioprune.models.fdnn import FDNN
from audioprune.models.gcrn import GCRN
from audioprune.models.gtcrn import GTCRN
from audioprune.models.lstm import LSTM
from audioprune.models.sing import SING
from audioprune.models.tcnn import TCNN
from audioprune.models.wavenet import WaveNet
from audioprune.models.zoo.crepe import Crepe
from audioprune.models.zoo.ge2e import GE2E
from audioprune.models.zoo.silero_vad import SileroVAD
from audioprune.report.platforms import bounds, read_platforms

WHOLE = ("CP-ResNet", "GE2E", "DCAE", "SING")
"""Networks of one signal of a fixed length."""
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "FDNN 161-256-256-161": lambda: FDNN(width=256, depth=2),
    "FDNN": FDNN,
    "LSTM 2x64": lambda: LSTM(width=64, depth=2),
    "LSTM": LSTM,
    "GCRN 1/8": lambda: GCRN(width=0.125),
    "GCRN": GCRN,
    "GTCRN": GTCRN,
    "TCNN": TCNN,
    "DDSP 1/8": lambda: DDSP(hidden=64, depth=3),
    "DDSP": DDSP,
    "WaveNet 1/8": lambda: WaveNet(residual=16, gate=16, skip=32, end=32),
    "WaveNet": WaveNet,
    "SileroVAD": SileroVAD,
    "CREPE tiny": lambda: Crepe(size="tiny"),
    "CREPE full": lambda: Crepe(size="full"),
    "GE2E": GE2E,
    "DCAE": DCAE,
    "SING": SING,
    "CP-ResNet": CPResNet,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", choices=tuple(NETWORKS), default=tuple(NETWORKS))
    parser.add_argument("--shape", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    for name in given.only:
        torch.manual_seed(0)
        try:
            row = counted(name, NETWORKS[name]().eval(), given.shape)
        except AudiopruneError as error:
            row = {"refused": str(error)}
        print(json.dumps({"network": name, **row}), flush=True)


def counted(name: str, model: nn.Module, shape: bool) -> dict[str, Any]:
    """Return what a network needs, and how far its C is from torch."""
    parameters = sum(value.numel() for value in model.parameters())
    streams = name.split(" ")[0] not in WHOLE
    if shape:
        _, stream = (streaming_of if streams else whole_of)(model)
        _, _, need = c_files(stream, "net", {})
        rom, ram, macs, parity = need.rom_bytes, need.ram_bytes, need.macs, None
        per_second: Any = getattr(model, "frames_per_second", 0) / stream.frame
    else:
        with tempfile.TemporaryDirectory() as folder:
            (row,) = export_c(model, Path(folder, "net"), streaming=streams)
        rom, ram, macs, parity = row.rom_bytes, row.ram_bytes, row.macs, row.parity
        per_second = row.frames_per_second or 0
    runs = [
        each.name
        for each in read_platforms()
        if (found := bounds(each, 2 * macs * per_second, rom, ram)).embeddable and found.real_time
    ]
    return {
        "parameters": parameters,
        "rom_bytes": rom,
        "ram_bytes": ram,
        "macs": macs,
        "steps_per_second": per_second,
        "parity": parity,
        "runs_on": runs,
    }


if __name__ == "__main__":
    main()
