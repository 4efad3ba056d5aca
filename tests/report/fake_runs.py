"""Run folders made by code, as the steps of a pipeline would leave them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from audioprune.report.figures import chart
from audioprune.report.figures.drawing import Figure
from audioprune.report.runs.entry import Entry

NOISES = ("babble", "cafeteria")
SNRS = (-5.0, 0.0, 5.0)
SCALE = "desk; 20 mixtures; width 64"


def undraw(patch: pytest.MonkeyPatch) -> None:
    """Make every picture an empty one."""
    patch.setattr(chart, "vega_of", lambda spec: {})
    patch.setattr(chart, "svg_of", lambda vega: "<svg/>")
    patch.setattr(chart, "png_of", lambda svg: b"not drawn")
    patch.setattr(chart, "pdf_of", lambda svg: b"not drawn")


def same_bytes(path: Path) -> bytes:
    """Return a file, or the beginning of a PDF, whose parts may be in any order."""
    data = path.read_bytes()
    return data[:8] if path.suffix == ".pdf" else data


def drawn_rows(figure: Figure, kind: str, place: int = 0) -> list[dict[str, Any]]:
    """Return the data of all marks of a kind in one view of a figure, in their order."""
    layers = figure.chart.spec["concat"][place]["layer"]
    found = [layer for layer in layers if layer["mark"]["type"] == kind]
    return [row for layer in found for row in layer["data"]["values"]]


def size_of(path: Path) -> tuple[int, int]:
    """Return width and height of a PNG in pixels."""
    data = path.read_bytes()[16:24]
    return int.from_bytes(data[:4], "big"), int.from_bytes(data[4:], "big")


class FakeRun:
    """Writes the files of one run folder piece by piece."""

    def __init__(
        self,
        folder: Path,
        model: str,
        pipeline: str,
        seed: int,
        scale: str,
        config: dict[str, Any],
    ) -> None:
        self.folder, self.model, self.seed, self.scale = folder, model, seed, scale
        folder.mkdir(parents=True)
        info = {
            "name": folder.name,
            "verb": "prune",
            "hash": "0" * 10,
            "model": model,
            "pipeline": pipeline,
            "seed": seed,
            "scale": scale,
        }
        whole = {
            "seed": seed,
            "scale": scale.split(";")[0],
            "model": {"name": model},
            "pipeline": {"name": pipeline},
            **config,
        }
        (folder / "run.json").write_text(json.dumps({**info, "config": whole}))
        self.status("finished")

    def status(self, status: str, reason: str = "") -> FakeRun:
        """Write status.json."""
        (self.folder / "status.json").write_text(json.dumps({"status": status, "reason": reason}))
        return self

    def row(self, **row: Any) -> FakeRun:
        """Append a row of results.jsonl."""
        with open(self.folder / "results.jsonl", "a") as stream:
            stream.write(json.dumps(row) + "\n")
        return self

    def scores(
        self,
        variant: str,
        stoi: float,
        pesq: float,
        step: str = "",
        snrs=SNRS,
        noises=NOISES,
        **more: Any,
    ) -> FakeRun:
        """Append score rows.

        They have the given numbers at the lowest SNR, 0.1 STOI and 0.3 PESQ more per step of SNR.
        """
        for noise in noises:
            for place, snr in enumerate(snrs):
                condition = f"{noise}_{snr:g}dB"
                label = "Mixture" if variant == "mixture" else self.model.upper()
                metrics = {"stoi": stoi + 0.1 * place, "pesq_raw_nb": pesq + 0.3 * place}
                row = {
                    "key": f"{step or variant}/{condition}",
                    "kind": "score",
                    "label": label,
                    "variant": variant,
                    "model": self.model,
                }
                row |= {
                    "noise": noise,
                    "snr_db": snr,
                    "condition": condition,
                    "split": "test",
                    "metrics": metrics,
                }
                row |= {
                    "std": {"stoi": 0.05, "pesq_raw_nb": 0.2},
                    "n": 10,
                    "n_valid": {"stoi": 10, "pesq_raw_nb": 10},
                }
                self.row(**{**row, "scale": self.scale, "seed": self.seed, **more})
        return self

    def size(
        self,
        variant: str,
        params: int = 1000,
        nonzero: int = 1000,
        paper: int = 4000,
        step: str = "",
        **more: Any,
    ) -> FakeRun:
        """Append a size row."""
        row = {
            "key": f"{step or variant}/size",
            "kind": "size",
            "label": self.model.upper(),
            "variant": variant,
            "model": self.model,
        }
        row |= {
            "params": params,
            "nonzero": nonzero,
            "sparsity": 1 - nonzero / params,
            "bytes_fp32": 4 * params,
            "bytes_paper": paper,
        }
        row |= {
            "bytes_ideal": paper + 50,
            "bytes_file": paper + 100,
            "macs_per_second": 2e6,
            "latency_ms_per_s": 3.5,
        }
        return self.row(**{**row, "scale": self.scale, "seed": self.seed, **more})

    def iterations(self, *shares: float) -> FakeRun:
        """Append iteration rows with the given shares of parameters left."""
        for place, share in enumerate(shares):
            row = {
                "key": f"compress/{place}/prune",
                "kind": "iteration",
                "label": self.model.upper(),
            }
            self.row(**row, iteration=place + 1, remaining_share=share, nonzero=int(1000 * share))
        return self

    def sensitivity(self, iteration: int, tensors: dict[str, float]) -> FakeRun:
        """Write sensitivity-<iteration>.csv; each tensor comes with its chosen ratio."""
        lines = ["iteration,tensor,beta,loss_increase,chosen"]
        for tensor, chosen in tensors.items():
            for step in range(round(chosen / 0.05) + 2):
                beta = step / 20
                increase = 0.01 * beta**2 / (1.1 - beta)
                is_chosen = abs(beta - chosen) < 1e-9
                lines.append(f"{iteration},{tensor},{beta},{increase},{is_chosen}")
        (self.folder / f"sensitivity-{iteration}.csv").write_text("\n".join(lines) + "\n")
        return self

    def audio(
        self,
        condition: str,
        item: str,
        versions: tuple[str, ...] = ("noisy", "uncompressed", "compressed", "clean"),
    ) -> FakeRun:
        """Write FLAC files of half a second."""
        rng = np.random.default_rng([7, len(item)])
        time = np.arange(8000) / 16000
        clean = (
            0.3
            * np.sin(2 * np.pi * (300 + 1500 * time) * time)
            * np.sin(2 * np.pi * 2 * time) ** 2
        )
        folder = self.folder / "audio" / condition
        folder.mkdir(parents=True, exist_ok=True)
        for version in versions:
            noise = {"noisy": 0.1, "clean": 0.0}.get(version, 0.02)
            soundfile.write(
                folder / f"{item}_{version}.flac", clean + noise * rng.standard_normal(8000), 16000
            )
        return self


def one_entry(found: list[Entry], title: str) -> Entry:
    chosen = [entry for entry in found if entry.title == title]
    assert len(chosen) == 1, [entry.title for entry in found]
    return chosen[0]
