"""How a model is built from a configuration, and how it is read back from whatever file holds it.

What a loaded file may name is an allow-list: classes that this package defines, with plain
arguments. Running experiments is done in experiment/build.py.
"""

from __future__ import annotations

import importlib
import re
import sys
import sysconfig
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_parameter_registration_hook,
)

from audioprune import checkpoint
from audioprune.compress.masks import Mask
from audioprune.compress.quantize.contract import Quantized
from audioprune.compress.ties import join_views_
from audioprune.compress.units.trim import resize_
from audioprune.compress.units.trimmed_layers import count_like_
from audioprune.compress.weight_norm import fold_like_
from audioprune.errors import AudiopruneError, CheckpointError, ConfigError, unknown_name
from audioprune.experiment.foreign.adopt import adopted, arguments
from audioprune.experiment.state_dicts import PICKLED, fitting, read_state_dict
from audioprune.packing import unpack
from audioprune.paths import MODEL_FILES, model_file
from audioprune.provenance import in_room, is_plain, read_as
from audioprune.torchaudio_loader import make_importable

_FREE_ELEMENTS, _FREE_TENSORS, _MOST_TRIMMED = 16 << 20, 1000, 1024
"""Numbers and tensors that any file may describe, and how often its own beyond that."""
_BEFORE_BRACE = re.compile(r"\\*\$\{")


def instantiate(node: dict[str, Any]) -> Any:
    """Build the object that a configuration node names, turning every failure into one line."""
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate as build_node

    target = node.get("_target_", "")
    make_importable()  # a user's module may import torchaudio
    try:
        plain = {key: _literal(value) for key, value in node.items() if key != "name"}
        return build_node({**plain, "_convert_": "all"})
    except InstantiationException as error:
        cause = _cause(error)
        if isinstance(cause, AudiopruneError):
            raise cause from error
        reason = _absent(target, cause) or _reason(cause)
        raise ConfigError(
            f"cannot build {target}: {reason}; check the name and its arguments"
        ) from error


def _literal(value: Any) -> Any:
    """Keep signs such as ``${`` of a resolved value, for instance of a path, as they are.

    Hydra resolves what it builds twice.
    """
    if isinstance(value, dict):
        return {key: _literal(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_literal(each) for each in value]
    if not isinstance(value, str) or "${" not in value:
        return value
    return _BEFORE_BRACE.sub(lambda found: "\\" * (4 * len(found[0]) - 5) + "${", value)


def _absent(target: str, cause: BaseException) -> str:
    """Say that a module was found but has no such name; empty for other failures.

    The import then looks for a module of that name in vain.
    """
    place, _, name = target.rpartition(".")
    if (
        not isinstance(cause, ModuleNotFoundError)
        or cause.name != target
        or place not in sys.modules
    ):
        return ""
    classes = [key for key, value in vars(sys.modules[place]).items() if isinstance(value, type)]
    return unknown_name(f"class of {place}", name, classes)


def _cause(error: BaseException) -> BaseException:
    """Return what went wrong beneath the wrapping of Hydra."""
    from hydra.errors import InstantiationException

    while error.__cause__ is not None and (
        isinstance(error, InstantiationException) or str(error).startswith("Error loading")
    ):
        error = error.__cause__
    return error


def _reason(error: BaseException) -> str:
    """Return an error's first line, its kind and the line of the user's file."""
    kind, text = type(error).__name__, next(iter(str(error).splitlines()), "")
    if isinstance(error, SyntaxError):
        return f"{error.msg} ({kind}, {Path(error.filename or '?').name} line {error.lineno})"
    frames = [
        (frame.f_code.co_filename, number)
        for frame, number in traceback.walk_tb(error.__traceback__)
    ]
    places = [f", {Path(name).name} line {number}" for name, number in frames if _is_users(name)]
    place = places[-1] if places else ""
    return f"{text} ({kind}{place})" if text else f"{kind}{place}"


def _is_users(file: str) -> bool:
    """Tell whether a source file is neither installed nor of this package."""
    installed = {"site-packages", "dist-packages"} & set(Path(file).parts)
    own = (str(Path(__file__).parent), sysconfig.get_path("stdlib"))
    return Path(file).exists() and not installed and not file.startswith(own)


def build_model(config: dict[str, Any], trusted: bool) -> nn.Module:
    """Build a model from its configuration.

    Args:
        config: ``_target_`` and arguments; ``name`` is ignored. That of a user's model may say
            ``example``, ``output`` and ``seconds``, see `audioprune.experiment.foreign`.
        trusted: False when the configuration came out of a model file: then only models of this
            package are built.

    Raises:
        CheckpointError: A file names something outside the package's models.
        ConfigError: The class or its arguments are wrong, it is no ``nn.Module``, one that cannot
            be handled, or parameters of it share memory without being one.
    """
    target = str(config.get("_target_", ""))
    if not trusted and not is_package_model(target):
        raise CheckpointError(
            f"the file names the model '{target}', which is not one of this package; give it "
            f"yourself with {_given_by(target)} (its arguments come from the file)"
        )
    if is_package_model(target):
        model: nn.Module = instantiate(config)
    else:
        model = adopted(instantiate(arguments(config)), config)
    join_views_(model)
    return model


def _given_by(target: str) -> str:
    """Return what to type for a user's model."""
    module, _, name = target.rpartition(".")
    return f"model={module or 'mynet'}:{name or 'MyNet'}"


def build_stored(config: dict[str, Any], known: dict[str, Any] | None) -> nn.Module:
    """Build a model from a configuration that came out of a file.

    Args:
        config: ``_target_`` and arguments as the file has them.
        known: The configuration; only the class outside this package that it names is built
            besides those of the package.

    Raises:
        CheckpointError: The file names another class, or an argument could name code.
    """
    if not isinstance(config, dict) or not is_plain(
        {key: value for key, value in config.items() if key != "_target_"}
    ):
        raise CheckpointError(
            "the file's model has arguments that could name code; the file is not loaded"
        )
    target = config.get("_target_")
    # A configuration may itself come from the file: a name within the package permits nothing by
    # being repeated.
    named = known is not None and target == known.get("_target_") and not in_room("model", target)
    return build_model(config, trusted=named)


@contextmanager
def _no_larger_than(state: Mapping[str, torch.Tensor]) -> Iterator[None]:
    """Stop building a model that grows far beyond the tensors of its file.

    Trimming may have left a thousandth of it, but a file of a few bytes builds no model that fills
    the memory.

    Raises:
        CheckpointError: The model is larger.
    """
    most = _FREE_ELEMENTS + _MOST_TRIMMED * sum(map(torch.Tensor.numel, state.values()))
    most_tensors = _FREE_TENSORS + _MOST_TRIMMED * len(state)
    count = elements = 0

    def counted(module: nn.Module, name: str, tensor: torch.Tensor | None) -> None:
        nonlocal count, elements
        count, elements = count + 1, elements + (0 if tensor is None else tensor.numel())
        if elements > most or count > most_tensors:
            raise CheckpointError(
                f"expected a model of the size of its tensors, got a description of one over "
                f"{_MOST_TRIMMED} times as large; the file is not loaded"
            )

    hooks = (
        register_module_parameter_registration_hook(counted),
        register_module_buffer_registration_hook(counted),
    )
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def is_package_model(target: str) -> bool:
    """Tell whether a dotted name is a model class defined in audioprune.models."""
    if not in_room("model", target):
        return False
    module_name, _, name = target.rpartition(".")
    try:
        kind = getattr(importlib.import_module(module_name), name, None)
    except ImportError:
        return False
    return (
        isinstance(kind, type) and issubclass(kind, nn.Module) and kind.__module__ == module_name
    )


def restore_model(model: nn.Module, state: dict[str, torch.Tensor]) -> nn.Module:
    """Give a freshly built model the stored tensors.

    It takes the widths that trimming left, and folds its weight norm where pruning did.

    Raises:
        CheckpointError: Names of tensors differ.
    """
    fold_like_(model, state)
    count_like_(model, state)
    own = model.state_dict()
    missing, extra = sorted(set(own) - set(state)), sorted(set(state) - set(own))
    if missing or extra:
        raise CheckpointError(
            f"checkpoint does not fit {type(model).__name__}: {len(missing)} tensors missing "
            f"{missing[:3]}, "
            f"{len(extra)} unknown {extra[:3]}; choose the model that the checkpoint was made with"
        )
    try:
        resize_(model, {name: tuple(value.shape) for name, value in state.items()})
        model.load_state_dict(state)
    except (RuntimeError, ValueError) as error:
        raise CheckpointError(
            f"checkpoint does not fit {type(model).__name__}: "
            f"{str(error).splitlines()[-1].strip()}"
        ) from error
    return model


@dataclass
class LoadedModel:
    """A model read back from a file."""

    model: nn.Module
    model_config: dict[str, Any]
    task_config: dict[str, Any] | None
    mask: Mask | None
    codebooks: dict[str, Quantized] | None


def load_model_file(
    path: str | Path,
    model_config: dict[str, Any] | None = None,
    task_config: dict[str, Any] | None = None,
) -> LoadedModel:
    """Read a model from a packed file, a checkpoint, a run folder or a plain state dict.

    Args:
        path: ``*.apz``, ``*.safetensors``, a run folder, or a state dict as other programs save
            it, see `audioprune.experiment.state_dicts`.
        model_config: Model to build for a plain state dict, or for a file whose model is not one
            of this package.
        task_config: Task of the run, which the file may name though it is not one of this package.

    Raises:
        CheckpointError: The file is missing, damaged, hostile or does not fit.
    """
    path = existing_file(path)
    if is_plain_state(path):
        return _load_state_dict(path, model_config)
    state, config, mask, codebooks = _content(path)
    stored = config.get("model") or config.get("model_config") or {}
    stored = read_as(stored, model_config) if isinstance(stored, dict) else stored
    try:
        with _no_larger_than(state):
            built = build_stored(stored, model_config)
        model = restore_model(built, state)
        task = _package_task(config.get("task"), task_config)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except ConfigError as error:
        if model_config is not None and not is_package_model(str(stored.get("_target_"))):
            raise  # of the user's own class
        raise CheckpointError(
            f"{path}: the model that the file describes cannot be built ({error})"
        ) from error
    return LoadedModel(model, stored, task, mask, codebooks)


def load_into(path: str | Path, model: nn.Module) -> LoadedModel:
    """Give a network that the caller built the weights, and the widths, of a file, in place.

    Nothing that the file names is built.

    Args:
        path: As for ``load_model_file``.
        model: Of the class that the file's weights belong to.

    Raises:
        CheckpointError: The file is missing, damaged, hostile or does not fit.
    """
    path = existing_file(path)
    if is_plain_state(path):
        state, said = read_state_dict(path)
        state = fitting(path, state, model.state_dict(), said)
        _refuse_other_shapes(path, model, state)
        return LoadedModel(_restored(path, model, state), {}, None, None, None)
    state, config, mask, codebooks = _content(path)
    stored = config.get("model") or config.get("model_config") or {}
    plain = isinstance(stored, dict) and is_plain(
        {key: value for key, value in stored.items() if key != "_target_"}
    )
    try:
        task = _package_task(config.get("task"), None)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    restored = _restored(path, model, state)
    return LoadedModel(restored, stored if plain else {}, task, mask, codebooks)


def existing_file(path: str | Path) -> Path:
    """Return the file that is meant.

    Raises:
        CheckpointError: There is none.
    """
    path = model_file(path)
    if path.is_dir():
        raise CheckpointError(
            f"{path}: expected {' or '.join(MODEL_FILES)} in this folder, found none; give a "
            f"finished run"
        )
    if not path.exists():
        raise CheckpointError(
            f"checkpoint {path} does not exist; expected a .apz, .safetensors or .pt file or a "
            f"run folder"
        )
    return path


def is_plain_state(path: Path) -> bool:
    """Tell whether another program wrote the file."""
    foreign = path.suffix == ".safetensors" and checkpoint.is_foreign(path)
    return path.suffix in PICKLED or foreign


_Content = tuple[dict[str, torch.Tensor], dict[str, Any], Mask | None, dict[str, Quantized] | None]


def _content(path: Path) -> _Content:
    """Return weights, facts, mask and codebooks of a file of this package."""
    if path.suffix == ".apz":
        packed = unpack(path)
        return packed.state, packed.config, packed.mask, packed.codebooks
    tensors, config = checkpoint.read(path)
    masks = checkpoint.under(tensors, "mask/")
    mask = Mask.from_state_dict(masks) if masks else None
    return checkpoint.under(tensors, "model/"), config, mask, None


def _restored(path: Path, model: nn.Module, state: dict[str, torch.Tensor]) -> nn.Module:
    try:
        return restore_model(model, state)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error


def _package_task(
    config: dict[str, Any] | None, known: dict[str, Any] | None = None
) -> dict[str, Any] | None:
    """Accept a task only with plain arguments, and of this package or of a known class."""
    if not config:
        return None
    target = str(config.get("_target_", "")) if isinstance(config, dict) else ""
    plain = bool(target) and is_plain(
        {key: value for key, value in config.items() if key != "_target_"}
    )
    if plain and known is not None and target == known.get("_target_"):
        return config
    if not in_room("task", target) or not plain:
        raise CheckpointError(
            f"the file names the task '{target}', which is not one of this package; the file is "
            f"not loaded"
        )
    module_name, _, name = target.rpartition(".")
    try:
        kind = getattr(importlib.import_module(module_name), name, None)
    except ImportError:
        kind = None
    if not isinstance(kind, type) or kind.__module__ != module_name:
        raise CheckpointError(
            f"the file names the unknown task '{target}'; the file is not loaded"
        )
    return config


def _load_state_dict(path: Path, model_config: dict[str, Any] | None) -> LoadedModel:
    if model_config is None:
        raise CheckpointError(
            f"{path}: a plain state dict says nothing about its model; give model=..."
        )
    state, said = read_state_dict(path)
    model = build_model(model_config, trusted=True)
    state = fitting(path, state, model.state_dict(), said)
    _refuse_other_shapes(path, model, state)
    return LoadedModel(restore_model(model, state), model_config, None, None, None)


def _refuse_other_shapes(path: Path, model: nn.Module, state: dict[str, torch.Tensor]) -> None:
    """A plain state dict says nothing of trimming, so that other shapes mean another model."""
    own = model.state_dict()
    wrong = [
        name for name, value in state.items() if name in own and own[name].shape != value.shape
    ]
    if wrong:
        first = ", ".join(
            f"{name} {tuple(state[name].shape)} in the file, {tuple(own[name].shape)} in the model"
            for name in wrong[:2]
        )
        raise CheckpointError(
            f"{path} does not fit {type(model).__name__}: {len(wrong)} tensors differ in shape "
            f"({first}); give the model's own arguments"
        )
