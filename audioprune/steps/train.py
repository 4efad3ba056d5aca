"""How a pipeline trains or fine-tunes: the training loop with the run's mask and a regulariser."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from audioprune.compress.penalties import L1Penalty, SparseGroupLasso
from audioprune.compress.weight_groups import GroupKinds, weight_groups
from audioprune.run import Run
from audioprune.training import Fit


@dataclass
class Train:
    """Train or fine-tune the model, with the run's mask re-applied after every optimiser step.

    Attributes:
        lambda_1: Strength of the l1 regulariser.
        lambda_2: Strength of the group regulariser.
        groups: Kind of weight group per kind of layer, for lambda_2.
        epochs: Epochs in place of the experiment's.
        learning_rate: Learning rate in place of the experiment's.
        only_from_scratch: Do nothing when the run began from a trained checkpoint.
    """

    lambda_1: float = 0.0
    lambda_2: float = 0.0
    groups: dict[str, str] | None = None
    epochs: int | None = None
    learning_rate: float | None = None
    only_from_scratch: bool = False

    def run(self, run: Run, path: str) -> None:
        """Train to the end and record how it went."""
        if self.only_from_scratch and run.from_checkpoint:
            return
        settings = replace(
            run.settings,
            epochs=self.epochs or run.settings.epochs,
            learning_rate=self.learning_rate or run.settings.learning_rate,
        )
        fit = Fit(
            run.model,
            run.task,
            run.data,
            settings,
            folder=self._folder(run, path),
            seed=run.seed,
            mask=run.mask,
            penalty=self._penalty(run),
            device=run.runtime["device"],
            workers=run.runtime["workers"],
            save_every_s=run.runtime["save_every_s"],
            title=path,
            tensorboard=run.folder / "tensorboard" / path.replace("/", "-") if run.runtime["tensorboard"] else None,
        )
        outcome = fit.run()
        run.model.cpu()
        run.codebooks = None
        run.results.put(
            {
                "key": path,
                "kind": "train",
                "label": run.label,
                "epochs": outcome.epochs,
                "steps": outcome.steps,
                "best_epoch": outcome.best_epoch,
                "best_loss": outcome.best,
                "seconds": round(outcome.seconds, 1),
                "lambda_1": self.lambda_1,
                "lambda_2": self.lambda_2,
            }
        )

    def cleanup(self, run: Run, path: str) -> None:
        """Drop the checkpoints of a fine-tuning inside a repetition; its result is in the run's state."""
        if "/" in path:
            for file in self._folder(run, path).glob("*.safetensors*"):
                file.unlink()

    def _penalty(self, run: Run) -> L1Penalty | SparseGroupLasso | None:
        if self.lambda_2:
            return SparseGroupLasso(run.model, self.lambda_1, self.lambda_2, weight_groups(run.model, group_kinds(self.groups)))
        return L1Penalty(run.model, self.lambda_1) if self.lambda_1 else None

    def _folder(self, run: Run, path: str) -> Path:
        return run.folder / "training" / path.replace("/", "-")


def group_kinds(kinds: dict[str, str] | None) -> GroupKinds:
    """Build the kinds of weight groups that a configuration names; None takes the defaults."""
    return GroupKinds(**(kinds or {}))
