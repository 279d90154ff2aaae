"""Measure the statistics of batch norms anew before a validation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch import nn
from torch.optim.swa_utils import update_bn

__all__ = ["BatchNormStatistics"]


class BatchNormStatistics:
    """Let batch norms see every training image once, as it is, before each validation.

    The running statistics of a training follow its last few batches. Where a batch is one image, augmented, they fit
    neither the weights of the moment nor images that are not augmented, and the network finds in eval mode a fraction
    of what it finds in train mode. Wu and Johnson, 2021, Rethinking "Batch" in BatchNorm, section 3 ("PreciseBN");
    the work is ``torch.optim.swa_utils.update_bn``'s. What is validated, and saved as the best, has the new ones.

    Args:
        network: whose batch norms are measured; one without any is left alone.
        dataloader: gives batches with an ``image`` (N, C, H, W): the training images without augmentation.
        device: of the network.
    """

    def __init__(self, network: nn.Module, dataloader: Iterable[Mapping[str, Any]], device: torch.device | str) -> None:
        self.network = network
        self.dataloader = dataloader
        self.device = torch.device(device)

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator."""
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Measure."""
        update_bn((batch["image"] for batch in self.dataloader), self.network, self.device)
