"""Every photo by the network of the fold that it was held out of: one evaluation of a whole cross-validation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from monai.inferers import Inferer
from monai.networks.utils import eval_mode
from torch import nn

__all__ = ["FoldInferer"]


class FoldInferer(Inferer):
    """Run each photo through the one network that was not trained on it.

    All metrics of the evaluation are then out of fold, pooled over the photos of all folds. The evaluator passes the
    photo's fold: ``PrepareBatchExtraInput({"foreground": "foreground", "fold": "fold"})``. The evaluator's own network
    is not used; those of the folds run in evaluation mode, without gradients.

    Args:
        inferer: what runs a network on a photo.
        networks: of fold 0, 1 …, on the device of the evaluation.

    Raises:
        ValueError: there is no network; in the call: more than one photo, or a fold that has no network.

    Example:
        >>> from monai.inferers import SimpleInferer
        >>> inferer = FoldInferer(SimpleInferer(), [torch.nn.Identity(), torch.nn.Hardtanh()])
        >>> photo = torch.full((1, 1, 1, 1), 3.0)
        >>> [float(inferer(photo, None, fold=fold)) for fold in (0, 1)]
        [3.0, 1.0]
    """

    def __init__(self, inferer: Inferer, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        if not networks:
            raise ValueError("there is a network for each fold, at least one")
        self.inferer = inferer
        self.networks = list(networks)

    def __call__(
        self,
        inputs: torch.Tensor,
        network: Callable[..., Any] | None = None,
        *args: Any,
        fold: torch.Tensor | Sequence[int] | int,
        **kwargs: Any,
    ) -> Any:
        """Return the output of the fold's network.

        Args:
            inputs: one photo (1, C, H, W).
            network: not used.
            args: given to the inferer.
            fold: number of the photo's fold, from 0.
            kwargs: given to the inferer.
        """
        folds = torch.as_tensor(fold).flatten().tolist()
        if len(inputs) != 1 or len(folds) != 1:
            raise ValueError(f"photos come one at a time, each with its fold, not {len(inputs)} with folds {folds}")
        if folds[0] not in range(len(self.networks)):
            raise ValueError(f"there are networks of the folds 0 to {len(self.networks) - 1}, not of fold {folds[0]}")
        with eval_mode(self.networks[int(folds[0])]) as (of_fold,):
            return self.inferer(inputs, of_fold, *args, **kwargs)
