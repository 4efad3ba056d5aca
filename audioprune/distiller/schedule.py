"""What a schedule file says: which pruners, regularizers and learning-rate rules act in which epochs of a training.

Reading the text is done in reading.py; what happens in those epochs in hook.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from torch import nn

from audioprune.compress.schedule import epochs as scheduled_epochs
from audioprune.distiller import names
from audioprune.distiller.learning_rates import Rule
from audioprune.distiller.pruners import (
    AutomatedGradualPruner,
    BaiduRNNPruner,
    MagnitudeParameterPruner,
    Moment,
    SensitivityPruner,
    SparsityLevelParameterPruner,
    SplicingPruner,
)
from audioprune.distiller.reading import Document, read
from audioprune.distiller.regularizers import GroupLassoRegularizer, L1Regularizer
from audioprune.distiller.structures import (
    GradualStructurePruner,
    RankedStructurePruner,
    StructureParameterPruner,
)
from audioprune.errors import ConfigError, unknown_name


@dataclass(frozen=True)
class Remover:
    """Takes units out of the model for which every filter, or every channel, is masked.

    The units are silenced, with biases and normalisations, at the epoch of the policy, and leave
    the tensors when training is over; that gives the same outputs as a removal at once.

    Attributes:
        thinning_func_str: ``remove_filters`` or ``remove_channels``.
        arch: Not used; the model declares its own units.
        dataset: Not used.

    Raises:
        ConfigError: The function is unknown.
    """

    thinning_func_str: str
    arch: str | None = None
    dataset: str | None = None

    def __post_init__(self) -> None:
        known = ("remove_filters", "remove_channels")
        if self.thinning_func_str not in known:
            raise ConfigError(
                unknown_name("thinning_func_str", str(self.thinning_func_str), known)
            )


@dataclass(frozen=True)
class _Known:
    """A class that a file may name: what is built, and the arguments that its name stands for."""

    build: Callable[..., Any]
    fixed: Mapping[str, Any] = field(default_factory=dict)

    def arguments(self) -> dict[str, bool]:
        """Return the arguments that a file may give, and whether each is needed."""
        return {
            each.name: each.default is MISSING
            for each in fields(self.build)
            if each.name not in self.fixed
        }


CLASSES: dict[str, dict[str, _Known]] = {
    "pruners": {
        "SensitivityPruner": _Known(SensitivityPruner),
        "SparsityLevelParameterPruner": _Known(SparsityLevelParameterPruner),
        "MagnitudeParameterPruner": _Known(MagnitudeParameterPruner),
        "AutomatedGradualPruner": _Known(AutomatedGradualPruner),
        "L1RankedStructureParameterPruner": _Known(RankedStructurePruner, {"p": 1}),
        "L2RankedStructureParameterPruner": _Known(RankedStructurePruner, {"p": 2}),
        "L1RankedStructureParameterPruner_AGP": _Known(GradualStructurePruner, {"p": 1}),
        "L2RankedStructureParameterPruner_AGP": _Known(GradualStructurePruner, {"p": 2}),
        "StructureParameterPruner": _Known(StructureParameterPruner),
        "SplicingPruner": _Known(SplicingPruner),
        "BaiduRNNPruner": _Known(BaiduRNNPruner),
    },
    "regularizers": {
        "L1Regularizer": _Known(L1Regularizer),
        "GroupLassoRegularizer": _Known(GroupLassoRegularizer),
    },
    "extensions": {
        "FilterRemover": _Known(Remover, {"thinning_func_str": "remove_filters"}),
        "ChannelRemover": _Known(Remover, {"thinning_func_str": "remove_channels"}),
        "StructureRemover": _Known(Remover),
    },
}
SECTIONS = {
    "pruner": "pruners",
    "regularizer": "regularizers",
    "lr_scheduler": "lr_schedulers",
    "extension": "extensions",
}
_WITH_DEFAULT = (
    SensitivityPruner,
    SparsityLevelParameterPruner,
    MagnitudeParameterPruner,
    SplicingPruner,
)
_EPOCH_KEYS = ("starting_epoch", "ending_epoch", "frequency")


@dataclass(frozen=True)
class Options:
    """The ``args`` of a policy; they count for the parameters that its pruner names, where Distiller lets them count for all.

    Attributes:
        levels: Levels in place of those of a SparsityLevelParameterPruner.
        keep_mask: Make the masks of the last scheduled epoch permanent.
        mini_batch_pruning_frequency: Minibatches between two prunings within a scheduled epoch; 0
            prunes at its begin only.
        mask_on_forward_only: Mask before every forward pass of a scheduled epoch, and let updates
            change masked weights.
        mask_gradients: Set the gradients of masked weights to zero; only with
            ``mask_on_forward_only``.
        use_double_copies: Update the weights as they were before masking, with the gradients of
            the masked ones.
        discard_masks_at_minibatch_end: Forget the masks after every minibatch of a scheduled
            epoch.
        skip_first_minibatch: Prune the first scheduled epoch at its second minibatch.
    """

    levels: Mapping[str, float] | None = None
    keep_mask: bool = False
    mini_batch_pruning_frequency: int = 0
    mask_on_forward_only: bool = False
    mask_gradients: bool = False
    use_double_copies: bool = False
    discard_masks_at_minibatch_end: bool = False
    skip_first_minibatch: bool = False

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if each.type == "bool" and not isinstance(value, bool):
                raise ConfigError(
                    f"{each.name}: expected true or false, got {value!r}; correct it"
                )
        count = self.mini_batch_pruning_frequency
        if isinstance(count, bool) or not isinstance(count, int) or count < 0:
            raise ConfigError(
                f"mini_batch_pruning_frequency: expected a whole number >= 0, got {count!r}; 0 "
                f"prunes once an epoch"
            )
        if self.mask_gradients and not self.mask_on_forward_only:
            raise ConfigError(
                "mask_gradients=true: expected mask_on_forward_only=true with it; masked "
                "weights are zero anyway without"
            )


@dataclass(frozen=True)
class Policy:
    """One entry of ``policies``: who acts when, and how.

    Attributes:
        kind: ``pruner``, ``regularizer``, ``lr_scheduler`` or ``extension``.
        name: Name of the instance.
        actor: The instance.
        epochs: Epochs in which it acts, ascending.
        frequency: Epochs between two of them, or None where they are listed.
        options: Its ``args``.
        end: Epoch behind the last one, exclusive, as the file states it.
    """

    kind: str
    name: str
    actor: Any
    epochs: tuple[int, ...]
    frequency: int | None
    options: Options
    end: int

    def moment(self, epoch: int) -> Moment:
        """Return what the actor has to know of an epoch."""
        return Moment(epoch, self.epochs[0], self.end, self.frequency)


@dataclass(frozen=True)
class Schedule:
    """All policies of a file in their order.

    Attributes:
        title: What messages call the file.
        policies: The policies.
        notes: What was left out because the reading was not strict.
    """

    title: str
    policies: tuple[Policy, ...]
    notes: tuple[str, ...] = ()

    def of(self, *kinds: str) -> tuple[Policy, ...]:
        """Return the policies of some kinds."""
        return tuple(policy for policy in self.policies if policy.kind in kinds)

    def pruning_epochs(self) -> list[int]:
        """Return the epochs in which a pruner acts, ascending."""
        return sorted({epoch for policy in self.of("pruner") for epoch in policy.epochs})

    def last_change(self) -> int:
        """Return the last epoch at whose begin weights are removed, 0 without any."""
        return max((policy.epochs[-1] for policy in self.of("pruner", "extension")), default=0)

    def bound(self, model: nn.Module, strict: bool = True) -> Schedule:
        """Return the schedule with the model's own parameter names.

        Args:
            model: The model; its frozen parameters are constants, which no policy may name.
            strict: Refuse names that the model does not have; otherwise they are left out, with a
                note.

        Raises:
            ConfigError: A name is unknown or means several parameters.
        """
        notes = list(self.notes)
        parameters = [
            name for name, parameter in model.named_parameters() if parameter.requires_grad
        ]
        policies = [
            replace(policy, actor=self._named(policy, parameters, strict, notes))
            if hasattr(policy.actor, "NAMED")
            else policy
            for policy in self.policies
        ]
        return replace(self, policies=tuple(policies), notes=tuple(dict.fromkeys(notes)))

    def _named(self, policy: Policy, parameters: list[str], strict: bool, notes: list[str]) -> Any:
        def refuse(name: str, problem: str) -> None:
            message = f"{self.title}, {policy.kind} '{policy.name}': {problem}"
            if strict:
                raise ConfigError(f"{message}; correct it, or leave it out with strict=false")
            notes.append(f"{message}; left out")

        what = policy.actor.NAMED
        given = getattr(policy.actor, what)
        found = names.resolve(
            given, parameters, refuse, default=isinstance(policy.actor, _WITH_DEFAULT)
        )
        if not found:
            raise ConfigError(
                f"{self.title}, {policy.kind} '{policy.name}': expected a parameter of the "
                f"model, got none; check the names"
            )
        if isinstance(given, Mapping):
            return replace(
                policy.actor,
                **{what: {found[name]: value for name, value in given.items() if name in found}},
            )
        return replace(policy.actor, **{what: [found[name] for name in given if name in found]})

    def at_epochs(self, start: int | None, end: int | None, frequency: int | None) -> Schedule:
        """Return the schedule with other epochs for its pruners; None leaves a number as the file has it.

        Raises:
            ConfigError: A number is out of range, or a policy lists its epochs.
        """
        if start is None and end is None and frequency is None:
            return self
        policies = []
        for policy in self.policies:
            if policy.kind != "pruner":
                policies.append(policy)
                continue
            if policy.frequency is None:
                raise ConfigError(
                    f"{self.title}, pruner '{policy.name}': it lists its epochs; change them in "
                    f"the file"
                )
            wanted = (start, end, frequency)
            numbers = [
                now if given is None else given
                for given, now in zip(wanted, _numbers_of(policy), strict=True)
            ]
            policies.append(
                replace(
                    policy,
                    epochs=tuple(scheduled_epochs(*numbers)),
                    end=numbers[1],
                    frequency=numbers[2],
                )
            )
        return replace(self, policies=tuple(policies))


def load_schedule(source: str | Path | Mapping[str, Any], strict: bool = True) -> Schedule:
    """Read a schedule file and build what it names.

    Args:
        source: A file, the name of a shipped schedule, or the values themselves.
        strict: Refuse unknown sections; otherwise they are left out, with a note.

    Raises:
        ConfigError: The file is no schedule, names an unsupported class or a wrong argument, or a
            number is out of range. The message names the file and, where it can, the line.
    """
    document = read(source)
    notes = _sections(document, strict)
    actors = {kind: _instances(document, section) for kind, section in SECTIONS.items()}
    policies = document.values.get("policies")
    if not isinstance(policies, list) or not policies:
        raise document.error(
            "expected a list 'policies' that says who acts when, got none; add it"
        )
    return Schedule(
        document.title,
        tuple(_policy(document, index, actors) for index in range(len(policies))),
        tuple(notes),
    )


def _sections(document: Document, strict: bool) -> list[str]:
    known = ("version", "quantizers", "policies", *SECTIONS.values())
    notes = []
    for section, content in document.values.items():
        if section == "quantizers" and content:
            problem = (
                "quantizers are not supported; quantise with the step Quantize of a pipeline, "
                "or pipeline=quantize"
            )
            raise document.error(problem, section)
        if section in known:
            continue
        error = document.error(unknown_name("section", section, known), section)
        if strict:
            raise error
        notes.append(f"{error}; left out")
    return notes


def _instances(document: Document, section: str) -> dict[str, Any]:
    content = document.values.get(section) or {}
    if not isinstance(content, dict):
        raise document.error(
            f"{section}: expected a mapping of names to settings, got {type(content).__name__}; "
            f"indent below it",
            section,
        )
    return {name: _instance(document, section, name, entry) for name, entry in content.items()}


def _instance(document: Document, section: str, name: str, entry: Any) -> Any:
    if not isinstance(entry, dict) or "class" not in entry:
        got = (
            f"the keys {', '.join(entry)}"
            if isinstance(entry, dict)
            else "nothing"
            if entry is None
            else type(entry).__name__
        )
        raise document.error(
            f"{section}, '{name}': expected a mapping with the key class, got {got}; indent it "
            f"below",
            section,
            name,
        )
    kind, given = (
        str(entry["class"]),
        {key: value for key, value in entry.items() if key != "class"},
    )
    try:
        return Rule(kind, given) if section == "lr_schedulers" else _build(section, kind, given)
    except ConfigError as error:
        raise document.error(f"'{name}': {error}", section, name) from error


def _build(section: str, kind: str, given: dict[str, Any]) -> Any:
    if kind not in CLASSES[section]:
        raise ConfigError(
            f"unsupported class: {unknown_name(f'class in {section}', kind, CLASSES[section])}"
        )
    known = CLASSES[section][kind]
    accepted = known.arguments()
    wrong = [key for key in given if key not in accepted]
    if wrong:
        raise ConfigError(
            f"{kind} does not accept {', '.join(wrong)}; it accepts {', '.join(accepted)}"
        )
    missing = [key for key, needed in accepted.items() if needed and key not in given]
    if missing:
        raise ConfigError(f"{kind}: expected {', '.join(missing)}, got none; add it")
    return known.build(**given, **known.fixed)


def _policy(document: Document, index: int, actors: Mapping[str, Mapping[str, Any]]) -> Policy:
    entry, place = document.values["policies"][index], ("policies", index)
    if not isinstance(entry, dict):
        raise document.error(
            f"expected a mapping with one of {', '.join(SECTIONS)}, got {entry!r}; correct the "
            f"policy",
            *place,
        )
    allowed = (*SECTIONS, "quantizer", "epochs", *_EPOCH_KEYS)
    for key in entry:
        if key not in allowed:
            raise document.error(unknown_name("key of a policy", key, allowed), *place, key)
    kinds = [kind for kind in (*SECTIONS, "quantizer") if kind in entry]
    if len(kinds) != 1 or kinds[0] == "quantizer":
        raise document.error(
            f"expected one of {', '.join(SECTIONS)} in a policy, got "
            f"{', '.join(kinds) or 'none'}; correct it",
            *place,
        )
    kind = kinds[0]
    actor, options, name = _actor(document, place, kind, entry[kind], actors[kind])
    epochs, frequency, end = _epochs(document, place, entry)
    return Policy(kind, name, actor, epochs, frequency, options, end)


def _actor(
    document: Document,
    place: tuple[str | int, ...],
    kind: str,
    entry: Any,
    known: Mapping[str, Any],
) -> tuple[Any, Options, str]:
    if (
        not isinstance(entry, dict)
        or "instance_name" not in entry
        or set(entry) - {"instance_name", "args"}
    ):
        got = ", ".join(entry) if isinstance(entry, dict) else repr(entry)
        raise document.error(
            f"{kind}: expected the keys instance_name and perhaps args, got {got}; correct it",
            *place,
            kind,
        )
    name = str(entry["instance_name"])
    if name not in known:
        raise document.error(
            unknown_name(f"instance_name in {SECTIONS[kind]}", name, known),
            *place,
            kind,
            "instance_name",
        )
    try:
        options = _options(kind, entry.get("args") or {})
        return _with_levels(known[name], options), options, name
    except ConfigError as error:
        raise document.error(str(error), *place, kind, "args") from error


def _options(kind: str, given: Any) -> Options:
    accepted = {
        "pruner": [each.name for each in fields(Options)],
        "regularizer": ["keep_mask"],
    }.get(kind, [])
    if not isinstance(given, dict):
        raise ConfigError(
            f"args: expected a mapping, got {type(given).__name__}; write 'keep_mask: true' lines"
        )
    if given.get("fold_batchnorm"):
        raise ConfigError("fold_batchnorm is not supported; weights are ranked as they are")
    for name in given:
        if name not in accepted and name != "fold_batchnorm":
            raise ConfigError(unknown_name(f"argument of a policy with a {kind}", name, accepted))
    return Options(**{name: value for name, value in given.items() if name != "fold_batchnorm"})


def _with_levels(actor: Any, options: Options) -> Any:
    if options.levels is None:
        return actor
    if not isinstance(actor, SparsityLevelParameterPruner):
        raise ConfigError(
            f"levels: expected a SparsityLevelParameterPruner, got {type(actor).__name__}; "
            f"leave them out"
        )
    return replace(actor, levels=options.levels)


def _epochs(
    document: Document, place: tuple[str | int, ...], entry: Mapping[str, Any]
) -> tuple[tuple[int, ...], int | None, int]:
    if "epochs" in entry:
        listed = entry["epochs"]
        if (
            not isinstance(listed, list)
            or not listed
            or not _whole(listed)
            or listed != sorted(set(listed))
        ):
            raise document.error(
                f"epochs: expected an ascending list of whole numbers >= 0, got {listed!r}; "
                f"correct it",
                *place,
                "epochs",
            )
        return tuple(listed), None, listed[-1] + 1
    missing = [key for key in _EPOCH_KEYS if key not in entry]
    if missing:
        raise document.error(
            f"expected {', '.join(_EPOCH_KEYS)} or epochs in a policy, {', '.join(missing)} is "
            f"missing; add it",
            *place,
        )
    numbers = [entry[key] for key in _EPOCH_KEYS]
    if not _whole(numbers):
        raise document.error(
            f"{', '.join(_EPOCH_KEYS)}: expected whole numbers >= 0, got {numbers}; correct them",
            *place,
        )
    try:
        return tuple(scheduled_epochs(*numbers)), numbers[2], numbers[1]
    except ConfigError as error:
        raise document.error(str(error), *place) from error


def _whole(values: Iterable[Any]) -> bool:
    return all(
        isinstance(value, int) and not isinstance(value, bool) and value >= 0 for value in values
    )


def _numbers_of(policy: Policy) -> tuple[int, int, int | None]:
    return policy.epochs[0], policy.end, policy.frequency
