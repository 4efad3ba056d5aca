"""Compare ways to draw WaveNet samples on one thread: compiled, eager, whole passes.

python scripts/benchmarks/wavenet.py --samples 4000 --repeats 3
The weights are random, so that only times and equal classes mean something. On a shared machine
wall time moves by a factor of two between runs; --clock cpu leaves out the time in which other
processes ran.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from functools import partial

for variable in (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
):
    os.environ[variable] = "1"  # before numpy and numba read them

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from audioprune.models.parts import wavenet_generation as generation  # noqa: E402
from audioprune.models.wavenet import WaveNet  # noqa: E402

SHAPES = {
    "published, 20 layers": {},
    "published, 80 features": {"conditioning": 80},
    "literal, 40 layers": {"layers": 40, "cycles": 4},
    "R28 G57 S57, 20 layers": {"residual": 28, "gate": 57, "skip": 57, "end": 57},
    "R28 G57 S57, 40 layers": {
        "residual": 28,
        "gate": 57,
        "skip": 57,
        "end": 57,
        "layers": 40,
        "cycles": 4,
    },
    "wavenet_small": {"residual": 32, "gate": 32, "skip": 64, "end": 64},
    "wavenet_tiny": {"residual": 8, "gate": 8, "skip": 16, "end": 16, "classes": 64, "layers": 6},
}


def build(shape: dict[str, int]) -> WaveNet:
    """Build a model whose random weights keep signals alive, so that the classes it draws vary."""
    torch.manual_seed(0)
    model = WaveNet(**shape).eval()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data.normal_(0, 1.6 * parameter[0].numel() ** -0.5)
    return model


@torch.no_grad()
def naive(
    model: WaveNet, start: Tensor, cond: Tensor | None, draws: Tensor, temperature: float
) -> Tensor:
    """Draw samples by a forward pass over the receptive field for each."""
    tokens = start
    for t in range(draws.shape[1]):
        context = tokens[:, -model.receptive_field :]
        given = (
            None
            if cond is None
            else cond[:, :, tokens.shape[1] - context.shape[1] : tokens.shape[1]]
        )
        token = generation.choose(model(context, given)[..., -1], draws[:, t], temperature)
        tokens = torch.cat((tokens, token[:, None]), 1)
    return tokens[:, start.shape[1] :]


def measure(
    run: Callable[[], Tensor], repeats: int, clock: Callable[[], float]
) -> tuple[float, Tensor]:
    """Return the shortest time in seconds and the classes."""
    seconds = []
    for _ in range(repeats):
        begin = clock()
        tokens = run()
        seconds.append(clock() - begin)
    return min(seconds), tokens


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--samples",
        type=int,
        default=4000,
        help="samples drawn by the compiled loop (default: %(default)s)",
    )
    parser.add_argument(
        "--repeats",
        type=int,
        default=3,
        help="runs of the compiled loop and the eager steps (default: %(default)s)",
    )
    parser.add_argument(
        "--temperature",
        type=float,
        default=1.0,
        help="0 takes the most probable class (default: %(default)s)",
    )
    parser.add_argument(
        "--clock",
        default="wall",
        choices=["wall", "cpu"],
        help="what is measured (default: %(default)s)",
    )
    parser.add_argument(
        "--shapes", nargs="+", default=list(SHAPES), choices=list(SHAPES), help="models to measure"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    clock = time.process_time if arguments.clock == "cpu" else time.perf_counter
    build(SHAPES["wavenet_tiny"]).generate(2)  # compile
    rates_of = f"{'naive/s':>9} {'eager/s':>9} {'compiled/s':>11} {'x eager':>8} {'x naive':>8}"
    print(f"{'model':24} {'parameters':>10} {rates_of} {'real time':>10} equal")
    for name in arguments.shapes:
        model = build(SHAPES[name])
        length = max(arguments.samples, 2)
        cond = torch.rand(1, model.conditioning, length) if model.conditioning else None
        start, draws = generation.prepare(model, length, cond, 0, arguments.temperature, None)
        temperature, few, some = (
            arguments.temperature,
            draws[:, : max(2, length // 400)],
            draws[:, : max(2, length // 10)],
        )
        warm = torch.randint(model.classes, (1, model.receptive_field))
        wide = (
            None
            if cond is None
            else torch.zeros(1, model.conditioning, model.receptive_field + few.shape[1])
        )
        fast_s, fast = measure(
            partial(generation.run_compiled, model, start, cond, draws, temperature),
            arguments.repeats,
            clock,
        )
        eager_s, eager = measure(
            partial(generation.run_eagerly, model, start, cond, some, temperature),
            arguments.repeats,
            clock,
        )
        naive_s, _ = measure(partial(naive, model, warm, wide, few, temperature), 1, clock)
        rates = [draws.shape[1] / fast_s, some.shape[1] / eager_s, few.shape[1] / naive_s]
        equal = float((fast[:, : some.shape[1]] == eager).float().mean())
        params = sum(p.numel() for p in model.parameters())
        numbers = (
            f"{rates[2]:9.1f} {rates[1]:9.0f} {rates[0]:11.0f} {rates[0] / rates[1]:8.1f} "
            f"{rates[0] / rates[2]:8.0f}"
        )
        print(
            f"{name:24} {params:10,} {numbers} {rates[0] / model.sample_rate:10.2f} {equal:.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
