"""How a signal is enhanced block by block: ``stream_of`` returns a ``SignalStream``.

Blocks of samples (C, T) at the task's rate go in, enhanced ones come out, each channel alone; all
blocks together are what ``task.enhance`` makes of the whole signal, within 1e-5 of its largest
sample. Files and sample rates are up to the modules above.
"""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from scipy.signal import lfilter
from torch import Tensor, nn

from audioprune.compress.placement import device_of
from audioprune.dsp import overlap_add
from audioprune.inference.blocks import BlockPlan, BlockRunner, plan_of
from audioprune.protocols import Enhances
from audioprune.tasks.adversarial import Adversarial
from audioprune.tasks.enhancement import Enhancement
from audioprune.tasks.foreign.waveform_model import WaveformModel

_LEAST = 1e-8  # of a level, as in the tasks


class SignalStream(Protocol):
    """A signal that is enhanced block by block."""

    def push(self, samples: Tensor, last: bool = False) -> Tensor:
        """Take the next samples (C, T) and return those that are ready (C, T'); all at the end."""
        ...


class Levels:
    """The level of each channel, to which a model's input is scaled.

    Args:
        channels: Number of channels C.
        fixed: Root mean squares (C,) of the whole signal; None follows what was heard so far.
    """

    def __init__(self, channels: int, fixed: Tensor | None = None) -> None:
        self._fixed = fixed is not None
        self._power = torch.zeros(channels, dtype=torch.float64)
        self._count = 0
        self._level = torch.ones(channels) if fixed is None else fixed.float().clamp_min(_LEAST)

    def heard(self, samples: Tensor) -> Tensor:
        """Take the next samples (C, T) and return the level (C, 1) that holds for them."""
        if not self._fixed and samples.shape[1]:
            self._power += samples.detach().cpu().double().square().sum(1)
            self._count += samples.shape[1]
            self._level = (self._power / self._count).sqrt().float().clamp_min(_LEAST)
        return self._level[:, None].to(samples.device)


class FrameStream:
    """Enhance by frames of a spectrum or of samples, which overlap.

    Args:
        task: What the model's frames mean.
        model: In evaluation mode.
        plan: How the model is run on blocks of frames.
        levels: To which level the input is scaled.
    """

    def __init__(
        self, task: Enhancement, model: nn.Module, plan: BlockPlan, levels: Levels
    ) -> None:
        self.task, self.target = task, task.target
        self._device, self._levels = device_of(model), levels
        self._runner = BlockRunner(model, plan, self.target.frame_dim)
        # frame n reads samples from n * hop - before to n * hop + after
        self._before = 0 if task.waveform else task.frame_length // 2
        self._after = task.frame_length - self._before
        self._back = -(-self._before // task.hop_length)  # frames that a cut on the left spoils
        self._samples: Tensor | None = None  # what later blocks read again
        self._begin = 0  # number of its first sample, a multiple of the hop
        self._asked = 0  # frames that were given to the model
        self._outputs: Tensor | None = None
        self._output_begin = 0  # number of the first kept output
        self._made = 0  # frames of output so far
        self._done = 0  # samples that were returned

    def push(self, samples: Tensor, last: bool = False) -> Tensor:
        """Take the next samples (C, T) and return those that are ready (C, T')."""
        samples = samples.to(self._device)
        level = self._levels.heard(samples)
        held = samples if self._samples is None else torch.cat((self._samples, samples), 1)
        self._samples = held
        total = self._begin + held.shape[1]
        if not total:
            return held
        self._run_model(held, total, level, last)
        ready = total if last else self._made * self.task.hop_length - self._before
        if ready <= self._done or self._outputs is None:
            return held[:, :0]
        made = self._audio(held, total, ready)
        self._done = ready
        self._forget()
        return made

    def _run_model(self, held: Tensor, total: int, level: Tensor, last: bool) -> None:
        """Give the model the frames that are complete and keep its outputs at their own level."""
        hop = self.task.hop_length
        if last:
            count = int(self.target.frames(torch.tensor(total)))
        else:
            count = max(0, total - self._after) // hop + int(total >= self._after)
        first = max(0, self._asked - self._back)
        cut = held[:, first * hop - self._begin :]
        inputs = self.target.inputs(cut / level) if cut.shape[1] else held.new_zeros(0)
        dim = self.target.frame_dim
        fresh = inputs.narrow(dim, self._asked - first, max(0, count - self._asked))
        outputs = self._runner.push(fresh, last)
        self._asked = max(self._asked, count)
        if outputs is None:
            return
        self._made += outputs.shape[dim]
        if self.task.estimates_signals:
            outputs = outputs * level.reshape(-1, *[1] * (outputs.dim() - 1))
        known = self._outputs
        self._outputs = outputs if known is None else torch.cat((known, outputs), dim)

    def _audio(self, held: Tensor, total: int, ready: int) -> Tensor:
        """Return the samples from the last returned one to the last that no frame changes."""
        assert self._outputs is not None
        hop, dim = self.task.hop_length, self.target.frame_dim
        # outputs of frames that a cut spoils reach no returned sample; their values do not matter
        first = self._output_begin
        cut = held[:, first * hop - self._begin :]
        frames = int(self.target.frames(torch.tensor(cut.shape[1])))
        have = self._outputs.shape[dim]
        outputs = self._outputs
        if have > frames:
            outputs = outputs.narrow(dim, 0, frames)
        elif have < frames:
            shape = list(outputs.shape)
            shape[dim] = frames - have
            outputs = torch.cat((outputs, outputs.new_zeros(shape)), dim)
        estimate = self.target.audio(outputs, cut)
        own = slice(self._done - first * hop, ready - first * hop)
        wet, noisy = estimate[:, own], cut[:, own]
        return wet if self.task.dry == 0 else torch.lerp(wet, noisy, self.task.dry)

    def _forget(self) -> None:
        """Drop samples and outputs that no later block reads."""
        hop, dim = self.task.hop_length, self.target.frame_dim
        # the first frame that covers the next sample, and those that a cut before it spoils
        covering = max(0, -(-(self._done - self._after + 1) // hop))
        keep = max(0, covering - self._back)
        assert self._outputs is not None and self._samples is not None
        drop = min(keep, self._made) - self._output_begin
        if drop > 0:
            left = self._outputs.shape[dim] - drop
            self._outputs = self._outputs.narrow(dim, drop, left).clone()
            self._output_begin += drop
        begin = min(self._output_begin, max(0, self._asked - self._back)) * hop
        if begin > self._begin:
            self._samples = self._samples[:, begin - self._begin :].clone()
            self._begin = begin


class CutStream:
    """Enhance by pre-emphasised frames of samples that are cut one behind the other.

    Args:
        task: How recordings are cut.
        model: In evaluation mode.
        levels: To which level the input is scaled, where the task scales it.
    """

    def __init__(self, task: Adversarial, model: nn.Module, levels: Levels) -> None:
        self.task, self.frames, self.model = task, task.frames, model
        self._device, self._levels = device_of(model), levels
        self._hop = self.frames.length - self.frames.overlap
        fade = ((torch.arange(self.frames.length) + 0.5) / max(1, self.frames.overlap)).clamp_max(
            1
        )
        self._window = (fade * fade.flip(0)).to(self._device)
        self._last: Tensor | None = None  # newest sample, for the pre-emphasis
        self._held: Tensor | None = None  # emphasised samples of the next frames
        self._tails: tuple[Tensor, Tensor] | None = None  # what the last frame left to add
        self._filter: object = None
        self._skip = self.frames.overlap  # zeros before the recording
        self._taken = self._done = self._cut = 0

    def push(self, samples: Tensor, last: bool = False) -> Tensor:
        """Take the next samples (C, T) and return those that are ready (C, T')."""
        samples = samples.to(self._device)
        level = self._levels.heard(samples)
        self._taken += samples.shape[1]
        if not self._taken:
            return samples
        self._emphasise(samples, last)
        joined = self._joined(level, last)
        skipped = min(self._skip, joined.shape[1])
        self._skip -= skipped
        joined = joined[:, skipped:]
        if last:
            joined = joined[:, : self._taken - self._done]
        self._done += joined.shape[1]
        return self._de_emphasised(joined)

    def _emphasise(self, samples: Tensor, last: bool) -> None:
        pad = samples.new_zeros(len(samples), self.frames.overlap)
        parts = [pad] if self._last is None else []
        parts += [samples, pad] if last else [samples]
        fresh = torch.cat(parts, 1)
        before = samples.new_zeros(len(samples), 1) if self._last is None else self._last
        shifted = torch.cat((before, fresh[:, :-1]), 1)[:, : fresh.shape[1]]
        emphasised = fresh - self.frames.pre_emphasis * shifted
        self._last = fresh[:, -1:] if fresh.shape[1] else before
        held = self._held
        self._held = emphasised if held is None else torch.cat((held, emphasised), 1)

    def _joined(self, level: Tensor, last: bool) -> Tensor:
        """Return the samples that no later frame changes, before the de-emphasis."""
        assert self._held is not None
        held, length, hop = self._held, self.frames.length, self._hop
        if last:  # zeros fill the last frame, as `frame_signal` does
            over = max(0, self._cut * hop + held.shape[1] - length)
            count = -(-over // hop) + 1 - self._cut
            missing = (count - 1) * hop + length - held.shape[1]
            held = F.pad(held, (0, max(0, missing)))
        else:
            count = max(0, held.shape[1] - length) // hop + int(held.shape[1] >= length)
        if not count:
            return self._tails[0] / self._tails[1] if last and self._tails else held[:, :0]
        self._cut += count
        cut = held[:, : (count - 1) * hop + length].unfold(1, length, hop)  # (C, M, L)
        self._held = held[:, count * hop :].clone()
        return self._added(self._made(cut, level), last)

    def _made(self, cut: Tensor, level: Tensor) -> Tensor:
        """Return what the model makes of frames (C, M, L), at their own level."""
        wanted = self.frames.level
        gain = torch.ones_like(level) if wanted is None else wanted / level
        calls = (cut * gain[:, None]).flatten(0, 1)[:, None]  # (C * M, 1, L)
        made = torch.cat([self.model(each) for each in calls.split(self.task.frames_per_call)])
        return made.float().reshape(cut.shape) / gain[:, None]

    def _added(self, made: Tensor, last: bool) -> Tensor:
        """Return frames (C, M, L) added with fades, but for what the next frame overlaps."""
        overlap = self.frames.overlap
        if not overlap:
            return made.flatten(1)
        total = overlap_add(made * self._window, self._hop)
        shares = overlap_add(self._window.expand(made.shape[1], -1), self._hop)[None]
        if self._tails is not None:
            total[:, :overlap] += self._tails[0]
            shares = shares.clone()
            shares[:, :overlap] += self._tails[1]
        end = total.shape[1] if last else total.shape[1] - overlap
        self._tails = total[:, end:].clone(), shares[:, end:].clone()
        return total[:, :end] / shares[:, :end]

    def _de_emphasised(self, joined: Tensor) -> Tensor:
        if not joined.shape[1]:
            return joined
        values = joined.double().cpu().numpy()
        if self._filter is None:
            self._filter = torch.zeros(len(joined), 1, dtype=torch.float64).numpy()
        filtered, self._filter = lfilter(
            [1.0], [1.0, -self.frames.pre_emphasis], values, axis=-1, zi=self._filter
        )
        return torch.from_numpy(filtered).to(joined)


class WaveStream:
    """Enhance samples by a model that maps a waveform to a waveform.

    Args:
        task: How the waveform is given and found in what comes back.
        model: In evaluation mode.
        plan: How the model is run on blocks of samples.
        levels: To which level the input is scaled, where the task scales it.
    """

    def __init__(
        self, task: WaveformModel, model: nn.Module, plan: BlockPlan, levels: Levels
    ) -> None:
        self.task, self._levels, self._device = task, levels, device_of(model)
        self._runner = BlockRunner(_Waves(task, model), plan, 1)

    def push(self, samples: Tensor, last: bool = False) -> Tensor:
        """Take the next samples (C, T) and return those that are ready (C, T')."""
        samples = samples.to(self._device)
        level = self._levels.heard(samples)
        gain = torch.ones_like(level) if self.task.level is None else self.task.level / level
        made = self._runner.push(samples * gain, last)
        return samples[:, :0] if made is None else made / gain


class _Waves(nn.Module):
    """A model of waveforms with what its task does around it: (C, T) to (C, T)."""

    def __init__(self, task: WaveformModel, model: nn.Module) -> None:
        super().__init__()
        self.task, self.model = task, model

    def forward(self, samples: Tensor) -> Tensor:
        """Map waveforms."""
        return self.task.mapped(self.model, samples)


class WholeStream:
    """Enhance a signal as a whole, once it has ended."""

    def __init__(self, task: Enhances, model: nn.Module) -> None:
        self.task, self.model = task, model
        self._parts: list[Tensor] = []

    def push(self, samples: Tensor, last: bool = False) -> Tensor:
        """Keep samples (C, T); return all enhanced ones at the end, none before."""
        self._parts.append(samples)
        if not last:
            return samples[:, :0]
        whole = torch.cat(self._parts, 1)
        return self.task.enhance(self.model, whole) if whole.shape[1] else whole


def scales_input(task: Enhances) -> bool:
    """Tell whether a task scales signals by their level before the model gets them."""
    if isinstance(task, Adversarial):
        return task.frames.level is not None
    if isinstance(task, WaveformModel):
        return task.level is not None
    return isinstance(task, Enhancement)


def signal_plan(task: Enhances, model: nn.Module) -> BlockPlan:
    """Return how a model of a task is run on blocks of a signal.

    Args:
        task: What enhances.
        model: In evaluation mode.

    Raises:
        ConfigError: The model does not run on what the task gives it.
    """
    if isinstance(task, Adversarial):
        return BlockPlan("overlap")
    if isinstance(task, WaveformModel):
        return _wave_plan(task, model)
    if not isinstance(task, Enhancement):
        return BlockPlan("whole", why="since its task makes nothing of parts of a signal")
    target, hop = task.target, task.hop_length

    def frames_of(count: int) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(1, count * hop + task.frame_length, generator=generator)
        return target.inputs(noise).narrow(target.frame_dim, 0, count)

    return plan_of(model, frames_of, target.frame_dim)


def _wave_plan(task: WaveformModel, model: nn.Module) -> BlockPlan:
    def samples_of(count: int) -> Tensor:
        return torch.randn(1, count, generator=torch.Generator().manual_seed(0))

    return plan_of(_Waves(task, model), samples_of, 1, type(model).__name__, samples=True)


def stream_of(
    task: Enhances, model: nn.Module, plan: BlockPlan, channels: int, level: Tensor | None
) -> SignalStream:
    """Begin to enhance a signal.

    Args:
        task: What enhances.
        model: In evaluation mode.
        plan: From ``signal_plan``.
        channels: Number of channels C.
        level: Root mean square of each channel (C,) of the whole signal, or None to follow what is
            heard. It is used where the task scales its input.
    """
    levels = Levels(channels, level)
    if isinstance(task, Adversarial):
        return CutStream(task, model, levels)
    if plan.kind != "whole" and isinstance(task, Enhancement):
        return FrameStream(task, model, plan, levels)
    if plan.kind != "whole" and isinstance(task, WaveformModel):
        return WaveStream(task, model, plan, levels)
    return WholeStream(task, model)
