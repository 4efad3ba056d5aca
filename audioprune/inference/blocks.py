"""How a model is run on consecutive blocks of frames: ``plan_of`` decides, ``BlockRunner`` runs.

The way is found by trial: a block-wise run of random frames must equal the run of all of them.
States of recurrent layers are carried, layers that look back or ahead get the frames that they
look at again, and what fits neither sees the whole. What frames mean is up to signals.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from audioprune.compress.placement import device_of
from audioprune.errors import ConfigError
from audioprune.inference.recurrence import CarriedStates
from audioprune.protocols import StreamsBlocks, StreamsFrames

Kind = Literal["states", "overlap", "steps", "whole"]
TOLERANCE = 1e-5
"""Largest difference of a block-wise run from the whole, as a fraction of the largest output."""
_LENGTHS = {64: 8, 256: 2, 640: 2, 1536: 2}
"""Frames of a trial that may show where a look back or ahead ends -> places that it changes."""
_SAMPLES = {2048: 8, 16_384: 2, 131_072: 2}
"""The same where frames are single samples."""
_ALIGNED = (1, 2, 4, 8, 16, 32)
_ALIGNED_SAMPLES = (1, 8, 16, 32, 64, 128, 256, 512, 1024)
_TRIAL_BLOCKS = (0.31, 0.12, 0.57)  # shares of the trial's frames
_CELLS = (nn.RNNBase, nn.RNNCellBase)


@dataclass(frozen=True)
class BlockPlan:
    """How a model is run on blocks.

    Attributes:
        kind: ``states``, recurrent layers go on where they were; ``overlap``, frames are given
            again; ``steps``, the model goes from state to state itself; ``whole``, all at once.
        before: Frames that the model looks back.
        after: Frames that it looks ahead, which delay its output.
        aligned: Blocks begin at multiples of so many frames.
        why: Why the model must see the whole; empty otherwise.
    """

    kind: Kind
    before: int = 0
    after: int = 0
    aligned: int = 1
    why: str = ""

    def text(self) -> str:
        """Say the rule in a few words."""
        if self.kind == "states":
            return "block by block, states of recurrent layers carried"
        if self.kind == "steps":
            return "from state to state, as it says itself"
        if self.kind == "whole":
            return f"as a whole, {self.why}"
        if not self.before and not self.after:
            return "block by block, each frame alone"
        return f"block by block, looking {self.before} frames back and {self.after} ahead"


def plan_of(
    model: nn.Module,
    frames_of: Callable[[int], Tensor],
    frame_dim: int,
    name: str = "",
    samples: bool = False,
) -> BlockPlan:
    """Find out how a model can be run on blocks.

    Args:
        model: In evaluation mode.
        frames_of: Random input of so many frames, batch first.
        frame_dim: Axis of the frames in input and output.
        name: Of the model, for the message.
        samples: Whether frames are single samples, of which many are looked back on.

    Raises:
        ConfigError: The model does not run on such an input, or gives another number of frames.
    """
    trial = _Trial(model, frames_of, frame_dim, name, samples)
    recurrent = [each for each in model.modules() if isinstance(each, _CELLS)]
    both = [each for each in recurrent if isinstance(each, nn.RNNBase) and each.bidirectional]
    if recurrent:  # both directions along time agree with nothing; along frequency they may
        plans = [BlockPlan("states")]
        plans += [BlockPlan("steps")] if isinstance(model, StreamsFrames) else []
        why = "since its blocks do not go on where the last one ended"
        why = "its recurrent layers run in both directions" if both else why
    else:
        plans = trial.overlaps()
        plans += [BlockPlan("steps")] if isinstance(model, StreamsFrames) else []
        why = "since every frame of its output depends on all of its input"
    for plan in plans:
        if trial.agrees(plan):
            return plan
    return BlockPlan("whole", why=why)


class BlockRunner:
    """A model that is given a stream of frames block by block.

    Args:
        model: In evaluation mode.
        plan: From ``plan_of``.
        frame_dim: Axis of the frames in input and output.
    """

    def __init__(self, model: nn.Module, plan: BlockPlan, frame_dim: int) -> None:
        self.model, self.plan, self.frame_dim = model, plan, frame_dim
        self._states = CarriedStates(model)
        self._step_state: object = None
        self._held: Tensor | None = None  # inputs that later blocks look at again
        self._first = 0  # number of the first held frame
        self._given = 0  # outputs that were returned

    def push(self, frames: Tensor, last: bool = False) -> Tensor | None:
        """Take the next frames and return the outputs that are ready, which may be none.

        Args:
            frames: Input of the next frames, batch first.
            last: Whether these are the last ones; all outputs are then returned.
        """
        if self.plan.kind == "states":
            return self._count(self._with_states(frames)) if self._size(frames) else None
        if self.plan.kind == "steps":
            return self._count(self._in_steps(frames)) if self._size(frames) else None
        held = frames if self._held is None else torch.cat((self._held, frames), self.frame_dim)
        self._held = held
        if self.plan.kind == "whole":
            return self.model(held) if last and self._size(held) else None
        return self._overlapped(held, last)

    def _with_states(self, frames: Tensor) -> Tensor:
        with self._states.carrying():
            output: Tensor = self.model(frames)
        return output

    def _in_steps(self, frames: Tensor) -> Tensor:
        model = self.model
        assert isinstance(model, StreamsFrames)  # the plan was made for it
        if self._step_state is None:
            self._step_state = model.initial_state(frames.shape[0])
        if isinstance(model, StreamsBlocks):
            made, self._step_state = model.continued(frames, self._step_state)
            return made
        outputs = []
        for frame in frames.unbind(self.frame_dim):
            output, self._step_state = model.step(frame, self._step_state)
            outputs.append(output)
        return torch.stack(outputs, self.frame_dim)

    def _overlapped(self, held: Tensor, last: bool) -> Tensor | None:
        """Run the held frames and return the outputs that no later frame changes."""
        plan = self.plan
        end = self._first + self._size(held)
        ready = end if last else (end - plan.after) // plan.aligned * plan.aligned
        if ready <= self._given:
            return None
        output = self.model(held)
        own = output.narrow(self.frame_dim, self._given - self._first, ready - self._given)
        self._given = ready
        first = max(0, ready - plan.before) // plan.aligned * plan.aligned
        self._held = held.narrow(self.frame_dim, first - self._first, end - first).clone()
        self._first = first
        return own

    def _size(self, frames: Tensor) -> int:
        return frames.shape[self.frame_dim]

    def _count(self, output: Tensor) -> Tensor:
        self._given += self._size(output)
        return output


class _Trial:
    """Random frames, on which block-wise runs are compared with the run of all of them."""

    def __init__(
        self,
        model: nn.Module,
        frames_of: Callable[[int], Tensor],
        frame_dim: int,
        name: str,
        samples: bool,
    ) -> None:
        self.lengths = _SAMPLES if samples else _LENGTHS
        self.aligned = _ALIGNED_SAMPLES if samples else _ALIGNED
        self.model, self.frames_of, self.frame_dim = model, frames_of, frame_dim
        self.name = name or type(model).__name__

    def overlaps(self) -> list[BlockPlan]:
        """Return the plans with the look back and ahead that a change of single frames shows."""
        for length, places in self.lengths.items():
            reach = self._reach(length, places)
            if reach is not None:
                before, after = reach
                # with strides, other places than those that were tried may be seen from farther
                return [
                    BlockPlan("overlap", before + each - 1, after + each - 1, each)
                    for each in self.aligned
                ]
        return []

    @torch.inference_mode()
    def _reach(self, length: int, places: int) -> tuple[int, int] | None:
        """Return how far a frame is seen, or None where that is more than so many frames show."""
        frames = self._input(length)
        output = self._run(frames)
        before = after = 0
        for place in range(length // 4, length // 4 + places):  # strides see each place otherwise
            changed = frames.clone()
            part = changed.narrow(self.frame_dim, place, 1)
            part.copy_(part * -0.5 + 1.0)
            difference = (self._run(changed) - output).abs().transpose(0, self.frame_dim)
            seen = (difference.flatten(1).amax(1) > 0).nonzero().flatten().tolist()
            if not seen:
                continue
            if seen[0] < length // 16 or seen[-1] >= length - length // 16:
                return None
            before, after = max(before, seen[-1] - place), max(after, place - seen[0])
        return before, after

    @torch.inference_mode()
    def agrees(self, plan: BlockPlan) -> bool:
        """Tell whether a plan gives what the whole gives."""
        length = max(min(self.lengths), 2 * (plan.before + plan.after + plan.aligned))
        frames = self._input(length)
        whole = self._run(frames)
        sizes = [max(1, round(share * length)) for share in _TRIAL_BLOCKS[:-1]]
        parts = frames.split([*sizes, length - sum(sizes)], self.frame_dim)
        runner = BlockRunner(self.model, plan, self.frame_dim)
        try:
            made = [runner.push(part, last=part is parts[-1]) for part in parts]
        except (RuntimeError, ConfigError):  # a state or a length does not fit
            return False
        outputs = [each for each in made if each is not None]
        if not outputs:
            return False
        joined = torch.cat(outputs, self.frame_dim)
        if joined.shape != whole.shape:
            return False
        largest = float(whole.abs().max())
        return float((joined - whole).abs().max()) <= TOLERANCE * max(largest, 1e-8)

    def _input(self, length: int) -> Tensor:
        frames = self.frames_of(length).to(device_of(self.model))
        return frames.clone()

    def _run(self, frames: Tensor) -> Tensor:
        try:
            output = self.model(frames)
        except (RuntimeError, ValueError, TypeError) as error:
            reason = str(error).splitlines()[0]
            raise ConfigError(
                f"{self.name}: expected a model that runs on {tuple(frames.shape)}, got: {reason}"
                f"; name its task with task=..."
            ) from error
        if not isinstance(output, Tensor) or output.dim() <= self.frame_dim:
            given = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise ConfigError(
                f"{self.name}: expected one tensor with frames on axis {self.frame_dim}, got "
                f"{given}; name its task with task=..."
            )
        if output.shape[self.frame_dim] != frames.shape[self.frame_dim]:
            raise ConfigError(
                f"{self.name}: expected {frames.shape[self.frame_dim]} frames of output, got "
                f"{output.shape[self.frame_dim]}; name its task with task=..."
            )
        return output
