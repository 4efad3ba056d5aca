"""What the GPU check measures; each function returns one result as plain values."""

from __future__ import annotations

import copy
import importlib
import math
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from audioprune import packing
from audioprune.compress.masks import prunable
from audioprune.compress.quantize import kmeans
from audioprune.errors import ConfigError
from audioprune.experiment.pipeline import build_steps, check_steps, execute
from audioprune.experiment.run import Run
from audioprune.optim import HSPG
from audioprune.protocols import HasNetworks
from audioprune.steps import Evaluate, Prune, Quantize
from audioprune.steps.sparse.groups import groups_of
from audioprune.training.loaders import moved
from scripts.gpu.experiments import Size, opened, scratch

Result = dict[str, Any]
TOLERANCE = 2e-3
"""Largest relative difference of losses, gradients and weights between the devices in fp32."""
_ITEMS = 2
_TIMED, _WARM = 5, 2


class Skipped(Exception):
    """This machine cannot show the part."""


def parity(network: str, device: torch.device, size: Size) -> Result:
    """Compare one network on the CPU and on a device: five differences, each relative.

    Raises:
        AssertionError: One is above ``TOLERANCE``, or the codes of k-means differ.
    """
    with scratch() as folder, _exact():
        run, _ = opened(network, size, _ITEMS, folder)
        found = {
            "training step": _step_difference(run, device),
            "score": _score_difference(run, device),
            "sensitivity": _sensitivity_difference(run, device),
            "k-means": _kmeans_difference(run, device),
            "HSPG step": _hspg_difference(run, device),
        }
    worst = max(value for value in found.values() if value is not None)
    if not worst <= TOLERANCE:
        raise AssertionError(f"expected differences up to {TOLERANCE}, got {found}")
    return {"differences": found}


def warm_up() -> None:
    """Load what torch loads late: a time limit must not strike within an import."""
    weight = nn.Parameter(torch.zeros(1))
    weight.sum().backward()
    torch.optim.Adam([weight]).step()
    importlib.import_module("torch.profiler")


def _pair(run: Run, device: torch.device) -> Iterator[tuple[Run, torch.device]]:
    """Yield a copy of the run on the CPU and one on the device."""
    if isinstance(run.task, HasNetworks):
        run.task.modules()  # they are drawn when first asked for
    for place in (torch.device("cpu"), device):
        side = copy.copy(run)
        side.model, side.task = copy.deepcopy(run.model).to(place), copy.deepcopy(run.task)
        if isinstance(side.task, HasNetworks):
            side.task.to(place)
        yield side, place


def _batch(run: Run, place: torch.device) -> dict[str, Any]:
    train = run.data.train()
    return moved(run.data.collate([train[index] for index in range(len(train))]), place)


def _gradients(run: Run, place: torch.device) -> float:
    """Take one step's losses back to the weights; return the loss."""
    losses: list[float] = []

    def update(loss: Tensor, which: str = "model", **_: Any) -> Tensor:
        if which == "model":
            loss.backward()
            losses.append(float(loss.detach()))
        return loss.detach()

    torch.manual_seed(0)
    run.model.train()
    with _same_draws():
        run.task.step(run.model, _batch(run, place), update)
    return sum(losses)


def _step_difference(run: Run, device: torch.device) -> float:
    losses, norms = [], []
    for side, place in _pair(run, device):
        losses.append(_gradients(side, place))
        norms.append(float(nn.utils.get_total_norm(_grads(side.model))))
    return max(_relative(*losses), _relative(*norms))


def _grads(model: nn.Module) -> list[Tensor]:
    return [each.grad for each in model.parameters() if each.grad is not None]


def _score_difference(run: Run, device: torch.device) -> float:
    values = []
    for side, place in _pair(run, device):
        batch = _batch(side, place)
        with torch.no_grad(), _same_draws():
            torch.manual_seed(0)
            values.append(side.task.validate(side.model.eval(), iter([batch]), "loss")["loss"])
    return _relative(*map(float, values))


def _sensitivity_difference(run: Run, device: torch.device) -> float:
    values = []
    for side, _ in _pair(run, device):
        data = side.data
        loss = side.task.validation_loss(side.model.eval(), data.valid(), data.collate, 1)
        name = prunable(side.model)[0]
        with _same_draws():
            torch.manual_seed(0)
            base = loss.base()
            with torch.no_grad():
                weight = dict(side.model.named_parameters())[name]
                weight[: max(1, len(weight) // 2)] = 0
            values.append((base, loss.with_tensor(name, math.inf)))
    return max(_relative(*pair) for pair in zip(*values, strict=True))


def _kmeans_difference(run: Run, device: torch.device) -> float:
    name = max(
        prunable(run.model), key=lambda each: dict(run.model.named_parameters())[each].numel()
    )
    weight = dict(run.model.named_parameters())[name].detach()
    here, there = kmeans.cluster(weight, 16), kmeans.cluster(weight.to(device), 16)
    same = torch.equal(here.codes, there.codes.cpu())
    return 0.0 if same and torch.equal(here.centroids, there.centroids.cpu()) else math.inf


def _hspg_difference(run: Run, device: torch.device) -> float | None:
    """Compare the weights after two steps of HSPG, one of each stage.

    None stands for a network of which no groups can be made.
    """
    ends = []
    for side, place in _pair(run, device):
        try:
            optimizer = _hspg(side.model)
        except ConfigError:
            return None
        for _ in range(2):
            optimizer.zero_grad(set_to_none=True)
            _gradients(side, place)
            nn.utils.clip_grad_norm_(side.model.parameters(), 1.0)
            optimizer.step()
        ends.append([each.detach().cpu() for each in side.model.parameters()])
    over = math.sqrt(sum(float((a - b).square().sum()) for a, b in zip(*ends, strict=True)))
    return over / math.sqrt(sum(float(a.square().sum()) for a in ends[0]))


def _hspg(model: nn.Module) -> HSPG:
    sets = groups_of(model, "units")
    return HSPG(list(model.named_parameters()), 1e-3, lmbda=1e-3, units=sets, prox_steps=1)


def _relative(one: float, other: float) -> float:
    return abs(one - other) / max(1e-6, abs(one))


@contextmanager
def _same_draws() -> Iterator[None]:
    """Draw noise on the CPU within a block, so that all devices see the same."""
    whole = {name: getattr(torch, name) for name in ("rand", "randn", "randn_like", "rand_like")}

    def drawn(name: str) -> Any:
        def draw(*args: Any, device: Any = None, **options: Any) -> Tensor:
            if name.endswith("_like"):
                given = args[0]
                return whole[name](given.cpu(), **options).to(given.device)
            made: Tensor = whole[name](*args, **options)
            return made if device is None else made.to(device)

        return draw

    for name in whole:
        setattr(torch, name, drawn(name))
    try:
        yield
    finally:
        for name, method in whole.items():
            setattr(torch, name, method)


@contextmanager
def _exact(tf32: bool = False) -> Iterator[None]:
    """Compute in full float32 within a block, or in TF32 where the device has it."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def packing_state(model: nn.Module) -> dict[str, Tensor]:
    """Return the state of a model with floats in bf16."""
    return {
        name: value.to(torch.bfloat16) if value.is_floating_point() else value
        for name, value in model.state_dict().items()
    }


def bf16_packing(device: torch.device, size: Size) -> Result:
    """Pack bf16 weights from the CPU and from a device; the files must be the same bytes."""
    with scratch() as folder:
        run, _ = opened("fdnn", size, 1, folder)
        files = []
        for side, place in _pair(run, device):
            path = Path(folder) / f"{place.type}-{len(files)}.apz"
            packing.pack(path, packing_state(side.model), config=run.model_config)
            files.append(path.read_bytes())
        if files[0] != files[1]:
            raise AssertionError("expected the same bytes from both devices, got others")
        state = packing.unpack(path).state
        if not all(
            torch.equal(state[name], each) for name, each in packing_state(run.model).items()
        ):
            raise AssertionError("expected the packed weights back, got others")
        return {"bytes": len(files[0])}


def throughput(network: str, device: torch.device, size: Size) -> Result:
    """Measure training steps at the batch of the paper, in every precision of the device.

    Returns:
        Precision -> ``audio_s_per_s``: seconds of audio a second; ``waiting``: share of the time
        spent on moving the batch; ``busy``: share of the time in which the device computes.
    """
    found: Result = {}
    with scratch() as folder:
        run, _ = opened(network, size, 2 if size.tiny else _batch_size(network), folder)
        for precision in ("fp32", "tf32", "bf16") if device.type == "cuda" else ("fp32", "bf16"):
            side = list(_pair(run, device))[-1][0]
            with _exact(tf32=precision == "tf32"):
                found[precision] = _timed(side, device, precision == "bf16")
    return found


def _batch_size(network: str) -> int:
    return {"dcae": 300, "ddsp": 64, "sing": 64, "wavenet": 64}.get(network, 8)


def _timed(run: Run, device: torch.device, bf16: bool) -> Result:
    optimizer = torch.optim.Adam(run.model.parameters(), 1e-5)
    batch = _batch(run, torch.device("cpu"))
    pinned = {
        key: value.pin_memory() if isinstance(value, Tensor) and device.type == "cuda" else value
        for key, value in batch.items()
    }

    def update(loss: Tensor, which: str = "model", **_: Any) -> Tensor:
        loss.float().backward()
        return loss.detach()

    def step() -> float:
        started = time.perf_counter()
        there = moved(pinned, device)
        _wait(device)
        waited = time.perf_counter() - started
        run.model.train()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            run.task.step(run.model, there, update)
        optimizer.step()
        return waited

    for _ in range(_WARM):
        step()
    _wait(device)
    started = time.perf_counter()
    waited = sum(step() for _ in range(_TIMED))
    _wait(device)
    seconds = time.perf_counter() - started
    return {
        "audio_s_per_s": round(_TIMED * _audio_s(run, batch) / seconds, 2),
        "waiting": round(waited / seconds, 4),
        "busy": _busy(step, device),
        "peak_gb": round(torch.cuda.max_memory_allocated(device) / 1e9, 2)
        if device.type == "cuda"
        else None,
        "items": len(next(iter(batch.values()))),
    }


def _audio_s(run: Run, batch: Mapping[str, Any]) -> float:
    """Return the seconds of audio of a batch; of scenes those that the features stand for."""
    for name in ("clean", "audio"):
        if name in batch:
            return float(batch[name].numel() / run.data.sample_rate)
    shape, shared = batch["features"].shape, run.data.shared()  # (B, C, M, N)
    return float(shape[0] * shape[-1] / shared["frames_per_second"])


def _busy(step: Any, device: torch.device) -> float | None:
    """Return the share of a step in which kernels run; None on the CPU."""
    if device.type != "cuda":
        return None
    from torch.profiler import ProfilerActivity, profile

    _wait(device)
    started = time.perf_counter()
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        step()
        _wait(device)
    seconds = time.perf_counter() - started
    kernels = sum(event.self_device_time_total for event in seen.key_averages()) / 1e6
    return round(min(1.0, kernels / seconds), 3)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def pipeline(network: str, device: torch.device, size: Size) -> Result:
    """Train a network of full width for a time, prune, quantise, pack, read back and score it."""
    items = 4 if size.tiny else 256
    words = ["pipeline=magnitude", "scoring.latency_repeats=0"]
    with scratch() as folder:
        run, plain = opened(network, size, items, folder, words, str(device))
        wanted = 0.5 if size.tiny else size.train_s
        steps = max(2, round(wanted / _step_s(run, device)))
        run.settings = replace(run.settings, steps=steps, epochs=max(1, steps))
        run.settings = replace(run.settings, validate_every=max(1, steps), schedule="constant")
        made: dict[str, Any] = {
            "train": build_steps(plain["pipeline"])["train"],
            "prune": Prune(sparsity=0.8),
            "quantize": Quantize(levels=16),
            "compressed": Evaluate("compressed", file="model.apz", audio=False),
        }
        check_steps(run, made)
        execute(run, made)
        rows = list(run.results.rows.values())
        size_row = next(row for row in rows if row["kind"] == "size")
        quality = next(row for row in rows if row["kind"] == "score")
        return {
            "steps": steps,
            "train_s": next(row["seconds"] for row in rows if row["kind"] == "train"),
            "params": size_row["params"],
            "bytes_file": size_row["bytes_file"],
            "metrics": quality["metrics"],
        }


def _step_s(run: Run, device: torch.device) -> float:
    """Return about how long a training step of the settings' batch takes."""
    side = list(_pair(run, device))[-1][0]
    train, size = side.data.train(), min(len(side.data.train()), run.settings.batch_size)
    batch = moved(side.data.collate([train[index] for index in range(size)]), device)

    def update(loss: Tensor, which: str = "model", **_: Any) -> Tensor:
        loss.backward()
        return loss.detach()

    side.model.train()
    for _ in range(2):  # the second is timed
        started = time.perf_counter()
        side.task.step(side.model, batch, update)
        _wait(device)
    return time.perf_counter() - started


def processes(device: torch.device, size: Size) -> Result:
    """Train in two processes, each on a device of its own."""
    if device.type != "cuda" or torch.cuda.device_count() < 2:
        raise Skipped("expected two CUDA devices")
    with scratch() as folder:
        words = ["experiment=p2/fdnn_demo", "training.epochs=1", f"runtime.folder={folder}"]
        words += ["runtime.device=cuda", "data.train_mixtures=64", "data.valid_mixtures=4"]
        command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
        command += ["-m", "audioprune.cli", "train", *words]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if ended.returncode:
            last = next(reversed(ended.stderr.strip().splitlines()), "")
            raise RuntimeError(f"exit code {ended.returncode}: {last}")
        return {"processes": 2}
