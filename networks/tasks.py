"""What a network of one or several tasks gives: a tensor of one task, or a dict of all."""

from __future__ import annotations

import copy

import torch
from torch import nn

__all__ = ["SingleTask", "TaskNetwork"]


class TaskNetwork(nn.Module):
    """A network of named tasks, whose output is the logits of one or a dict of all.

    MONAI's verification, export and activation maps expect a tensor; its engines take either. Subclasses define
    `forward_tasks`.

    Args:
        names: the tasks.
        tasks: the one whose tensor is given, or ``"all"`` for a dict of all.

    Raises:
        ValueError: the network has no such task.
    """

    __constants__ = ("gives_all",)  # TorchScript decides by it which of the two types it compiles

    def __init__(self, names: tuple[str, ...], tasks: str) -> None:
        super().__init__()
        self.names = names
        self.tasks = self._checked(tasks)
        self.gives_all = tasks == "all"

    def _checked(self, tasks: str) -> str:
        if tasks not in (*self.names, "all"):
            raise ValueError(f"tasks is 'all' or one of {', '.join(self.names)}, not {tasks!r}.")
        return tasks

    def for_tasks(self, tasks: str) -> TaskNetwork:
        """Return the same network, with the very same weights, that gives other tasks.

        Args:
            tasks: one of the tasks, or ``"all"``.

        Raises:
            ValueError: the network has no such task.
        """
        other = copy.copy(self)
        other.tasks = self._checked(tasks)
        other.gives_all = tasks == "all"
        return other

    def forward_tasks(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the logits of every task by its name."""
        raise NotImplementedError

    def forward(self, x: torch.Tensor) -> torch.Tensor | dict[str, torch.Tensor]:
        """Return the logits of `tasks`: a tensor, or a dict where it is ``"all"``.

        Args:
            x: float images (N, in_channels, H, W).
        """
        outputs = self.forward_tasks(x)
        if self.gives_all:
            return outputs
        return outputs[self.tasks]


class SingleTask(TaskNetwork):
    """Any network that returns one tensor, as a network of named tasks: to compare it with one of several.

    Args:
        network: returns logits.
        task: their name.
        tasks: `task` or ``"all"``; `task` by default.

    Example:
        >>> network = SingleTask(nn.Conv2d(3, 5, 1), "segmentation")
        >>> network.for_tasks("all")(torch.rand(1, 3, 8, 8))["segmentation"].shape
        torch.Size([1, 5, 8, 8])
    """

    def __init__(self, network: nn.Module, task: str, tasks: str | None = None) -> None:
        super().__init__((task,), task if tasks is None else tasks)
        self.network = network
        self.task = task

    def forward_tasks(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the network's logits under the task's name."""
        return {self.task: self.network(x)}
