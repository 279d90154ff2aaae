"""Measure the statistics of batch norms anew before a validation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.inferers import Inferer
from monai.utils import convert_to_tensor
from torch import nn
from torch.optim.swa_utils import update_bn

__all__ = ["BatchNormStatistics"]


class BatchNormStatistics:
    """Let batch norms see every training image once, as it is, before each validation.

    The running statistics of a training follow its last few batches. Where a batch is one image, augmented, they fit
    neither the weights of the moment nor images that are not augmented, and the network finds in eval mode a fraction
    of what it finds in train mode. ``torch.optim.swa_utils.update_bn`` takes the mean over all batches of each batch's
    own mean and variance, hence, for batches of one, the variance within an image, which is what the network was
    trained with; Wu and Johnson (2021, Rethinking "Batch" in BatchNorm, section 3), whose idea it is, take the
    variance of all images together. What is validated, and saved as the best, has the new ones.

    Args:
        network: whose batch norms are measured; one without any is left alone.
        dataloader: gives batches with an ``image`` (N, C, H, W): the training images without augmentation.
        inferer: runs the network, in the arithmetic of the validation.
        device: of the network.
    """

    def __init__(
        self,
        network: nn.Module,
        dataloader: Iterable[Mapping[str, Any]],
        inferer: Inferer,
        device: torch.device | str,
    ) -> None:
        self.network = _Inferred(network, inferer)
        self.dataloader = dataloader
        self.device = torch.device(device)

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator."""
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Measure."""
        images = (convert_to_tensor(batch["image"], track_meta=False) for batch in self.dataloader)
        self.network.train(self.network.network.training)  # the mode that update_bn leaves
        update_bn(images, self.network, self.device)


class _Inferred(nn.Module):
    """A network as its inferer runs it."""

    def __init__(self, network: nn.Module, inferer: Inferer) -> None:
        super().__init__()
        self.network = network
        self.inferer = inferer

    def forward(self, x: torch.Tensor) -> Any:
        return self.inferer(x, self.network)
