"""The sum of the losses of a network's tasks."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn.modules.loss import _Loss

__all__ = ["MultiTaskLoss"]


class MultiTaskLoss(_Loss):
    """Sum of the tasks' losses, each times its weight, over the tasks that the network gives.

    Grading and segmentation paper (003), equation 3. A network of one task gives one loss.

    Args:
        losses: for each task a loss of its logits and target, and, where the target has a `<task>_weight`, of these
            weights of the samples, such as `ClassBalancedCELoss`.
        weights: factors of the tasks' losses; 1 for a task that is not named.

    Raises:
        ValueError: when `weights` names a task that has no loss.

    Example:
        >>> from tinylesions.losses import ClassBalancedCELoss
        >>> loss = MultiTaskLoss({"grade": ClassBalancedCELoss(0), "segmentation": ClassBalancedCELoss()})
        >>> logits = {"grade": torch.zeros(1, 5), "segmentation": torch.zeros(1, 5, 8, 8)}
        >>> loss(logits, {"grade": torch.tensor([2]), "segmentation": torch.ones(1, 1, 8, 8)})
        tensor(3.2189)
    """

    def __init__(self, losses: Mapping[str, nn.Module], weights: Mapping[str, float] | None = None) -> None:
        super().__init__()
        unknown = sorted(set(weights or {}) - set(losses))
        if unknown:
            raise ValueError(f"weights names {', '.join(unknown)}, but there are losses of {', '.join(losses)} only.")
        self.losses = nn.ModuleDict(losses)
        self.weights = {task: (weights or {}).get(task, 1.0) for task in losses}

    def forward(self, input: Mapping[str, torch.Tensor], target: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return the loss, a scalar.

        Args:
            input: logits by task.
            target: by task what its loss compares them with; `<task>_weight` (N,) are its samples' weights, handed
                to the loss where given. More tasks than the network has are left out.

        Raises:
            ValueError: when the network gives no dict of tasks, or one without a loss or without a target.
        """
        if not isinstance(input, Mapping) or not input:
            raise ValueError(f"The network must give a dict of logits by task, not {_kind(input)}.")
        for task in input:
            if task not in self.losses:
                raise ValueError(f"The network gives the task {task}, but there are losses of {_names(self.losses)}.")
            if task not in target:
                raise ValueError(f"The network gives the task {task}, but there are targets of {_names(target)}.")
        return torch.stack([self._task_loss(task, logits, target) for task, logits in input.items()]).sum()

    def _task_loss(self, task: str, logits: torch.Tensor, target: Mapping[str, torch.Tensor]) -> torch.Tensor:
        sample_weight = target.get(f"{task}_weight")
        arguments = (logits, target[task]) if sample_weight is None else (logits, target[task], sample_weight)
        return self.weights[task] * self.losses[task](*arguments)


def _kind(value: object) -> str:
    return "an empty one" if isinstance(value, Mapping) else f"a {type(value).__name__}"


def _names(tasks: Mapping[str, object] | nn.ModuleDict) -> str:
    return ", ".join(tasks.keys()) or "none"
