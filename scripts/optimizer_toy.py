"""Compare optimisers on a group-sparse logistic regression whose optimum is known.

400 samples, 20 groups of 5 weights of which 5 matter; 60 epochs of batches of 20, learning rate
and lambda 0.05.

    python scripts/optimizer_toy.py [--out runs/toy/optimizers] [--seeds 3]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import SGD, Optimizer

from audioprune.files import write_atomic, write_json
from audioprune.optim import ADMM, HSPG, OBProxSG, ProxSG

LAMBDA, RATE, EPOCHS, PROX_EPOCHS, BATCHES = 0.05, 0.05, 60, 30, 20
Make = Callable[[list[Tensor]], Optimizer]
COMMON: dict[str, Any] = {"lr": RATE, "lmbda": LAMBDA, "units": "rows"}
METHODS: dict[str, tuple[str, Make]] = {
    "SGD, lambda unused": ("sgd", lambda p: SGD(p, lr=RATE)),
    "ProxSG": ("proxsg", lambda p: ProxSG(p, **COMMON)),
    "ADMM, rho 0.1": ("admm", lambda p: ADMM(p, rho=0.1, inner_steps=10, **COMMON)),
    "ADMM, rho 1": ("admm", lambda p: ADMM(p, rho=1.0, inner_steps=10, **COMMON)),
    "OBProxSG, l1 norm": (
        "obproxsg",
        lambda p: OBProxSG(p, prox_steps=PROX_EPOCHS * BATCHES, **COMMON),
    ),
    "HSPG, epsilon 0": ("hspg", lambda p: HSPG(p, prox_steps=PROX_EPOCHS * BATCHES, **COMMON)),
    "HSPG, epsilon 0.5": (
        "hspg",
        lambda p: HSPG(p, prox_steps=PROX_EPOCHS * BATCHES, epsilon=0.5, **COMMON),
    ),
    "HSPG, epsilon 0.8": (
        "hspg",
        lambda p: HSPG(p, prox_steps=PROX_EPOCHS * BATCHES, epsilon=0.8, **COMMON),
    ),
}


class Problem:
    """The data of one seed."""

    def __init__(self, seed: int) -> None:
        random = np.random.RandomState(seed)
        matrix = random.standard_normal((400, 100))
        truth = np.zeros(100)
        for group in range(5):
            truth[5 * group : 5 * group + 5] = random.standard_normal(5)
        labels = np.where(matrix @ truth + 0.5 * random.standard_normal(400) > 0, 1.0, -1.0)
        self.matrix, self.labels = torch.from_numpy(matrix), torch.from_numpy(labels)
        self.start = torch.from_numpy(
            0.1 * np.random.RandomState(seed + 1000).standard_normal(100)
        ).reshape(20, 5)
        order = np.random.RandomState(seed)
        self.batches = [
            torch.from_numpy(part)
            for _ in range(EPOCHS)
            for part in order.permutation(400).reshape(BATCHES, 20)
        ]

    def loss(self, x: Tensor, batch: Tensor | slice = slice(None)) -> Tensor:
        """Return the mean logistic loss."""
        return torch.nn.functional.softplus(
            -self.labels[batch] * (self.matrix[batch] @ x.reshape(-1))
        ).mean()

    def numbers(self, x: Tensor) -> dict[str, float]:
        """Return objective, loss and sparsity of a solution."""
        norms = x.norm(dim=1)
        loss = float(self.loss(x))
        sparsity = {
            "group_sparsity": float((norms == 0).double().mean()),
            "entry_sparsity": float((x == 0).double().mean()),
        }
        return {"f": loss, "objective": loss + LAMBDA * float(norms.sum()), **sparsity}


def solve(problem: Problem, make: Make) -> tuple[Tensor, float]:
    """Train with one method; return the solution (ADMM: the sparse z) and the seconds."""
    x = torch.nn.Parameter(problem.start.clone())
    optimizer = make([x])
    started = time.perf_counter()
    for batch in problem.batches:
        optimizer.zero_grad()
        problem.loss(x, batch).backward()
        optimizer.step()
    seconds = time.perf_counter() - started
    return (optimizer.state[x]["z"] if isinstance(optimizer, ADMM) else x.detach()), seconds


def optimum(problem: Problem) -> Tensor:
    """Solve with all samples in every step: FISTA, 4000 iterations."""
    rate = 4.0 * 400 / float(torch.linalg.matrix_norm(problem.matrix, 2) ** 2)
    x = y = problem.start.clone()
    momentum = 1.0
    for _ in range(4000):
        point = y.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(problem.loss(point), point)
        moved = y - rate * gradient
        fresh = moved * (
            1 - rate * LAMBDA / moved.norm(dim=1, keepdim=True).clamp_min(1e-300)
        ).clamp_min(0.0)
        following = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        x, y, momentum = fresh, fresh + (momentum - 1) / following * (fresh - x), following
    return x


def rows(seeds: int) -> list[dict[str, Any]]:
    """Return one row per method and seed."""
    found = []
    for seed in range(seeds):
        problem = Problem(seed)
        started = time.perf_counter()
        solved = {"optimum (FISTA)": ("optimum", optimum(problem), time.perf_counter() - started)}
        solved |= {
            name: (method, *solve(problem, make)) for name, (method, make) in METHODS.items()
        }
        for name, (method, x, seconds) in solved.items():
            numbers = {
                **problem.numbers(x),
                "seconds": round(seconds, 4),
                "lmbda": LAMBDA,
                "learning_rate": RATE,
            }
            found.append(
                {
                    "key": f"toy/{seed}/{name}",
                    "kind": "toy",
                    "name": name,
                    "method": method,
                    "seed": seed,
                    **numbers,
                }
            )
    return found


def main() -> None:
    """Write a folder that looks like a run's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/toy/optimizers"))
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    found = rows(given.seeds)
    given.out.mkdir(parents=True, exist_ok=True)
    write_atomic(given.out / "results.jsonl", "".join(json.dumps(row) + "\n" for row in found))
    scale = "toy: logistic regression, 20 groups of 5 weights"
    write_json(given.out / "run.json", {"name": "optimizers", "pipeline": "toy", "scale": scale})
    write_json(given.out / "status.json", {"status": "finished"})
    for row in found[: len(METHODS) + 1]:
        print(
            f"{row['name']:20s} F {row['objective']:.6f}  f {row['f']:.6f}  zero groups "
            f"{row['group_sparsity']:.2f}"
        )


if __name__ == "__main__":
    main()
