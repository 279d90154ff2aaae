"""Whole images in one pass, in the precision that the device is fastest with."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from monai.data import MetaTensor
from monai.inferers import SimpleInferer
from monai.utils import convert_to_dst_type, convert_to_tensor
from torch import nn

from tinylesions.inferers.flips import average_flips, checked_flips
from tinylesions.inferers.outputs import Outputs, as_given, by_key
from tinylesions.inferers.precision import PRECISIONS, autocast, resolve_precision

__all__ = ["WholeImageInferer"]

logger = logging.getLogger(__name__)

Explainer = Callable[[torch.Tensor, Any, Mapping[Any, torch.Tensor]], Mapping[str, torch.Tensor]]


class WholeImageInferer(SimpleInferer):
    """MONAI's ``SimpleInferer`` with autocast on every device, for training, validation and inference.

    MONAI's engines autocast on CUDA only. The network gets a plain tensor, channels last, since a ``MetaTensor`` costs
    time in every operation. Where no gradients are recorded and a GPU's memory runs out, a module runs on the CPU,
    which is logged.

    Args:
        precision: ``"auto"``, ``"float32"``, ``"bf16"`` or ``"fp16"``, see
            :func:`~tinylesions.inferers.precision.resolve_precision`. It replaces any autocast around the call. While
            gradients are recorded, float16 would need a gradient scaler: there ``"auto"`` is float32 on a GPU without
            bfloat16.
        explainer: adds to the outputs of a network that gives a dict what it makes of the images, the network and those
            outputs, e.g. :class:`~tinylesions.inferers.grad_cam.GradCamMaps`. It gets no autocast.
        flips: mirror images whose outputs are averaged, see :data:`~tinylesions.inferers.flips.Flips`;
            ``((), (1,))`` is the image and its mirror image. By default the image alone.

    Raises:
        ValueError: no such precision or flips; in the call: ``"fp16"`` while gradients are recorded, or there is an
            explainer and the network gives no dict, or one with the explainer's names.

    Example:
        >>> inferer = WholeImageInferer(precision="float32")
        >>> inferer(torch.zeros(1, 3, 50, 70), torch.nn.Conv2d(3, 2, 1)).shape
        torch.Size([1, 2, 50, 70])
    """

    def __init__(
        self, precision: str = "auto", explainer: Explainer | None = None, flips: Sequence[Sequence[int]] = ((),)
    ) -> None:
        super().__init__()
        if precision not in ("auto", *PRECISIONS):
            raise ValueError(f"precision is one of auto, {', '.join(PRECISIONS)}, not {precision!r}.")
        self.precision = precision
        self.explainer = explainer
        self.flips = checked_flips(flips)

    def __call__(  # type: ignore[override]  # MONAI's own promises a tensor and gives what the network gives
        self, inputs: torch.Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> torch.Tensor | tuple[torch.Tensor, ...] | dict[Any, torch.Tensor]:
        """Return the network's output in float32 on the inputs' device: a tensor, a tuple or a dict, as the network's.

        Where no gradients are recorded, a ``MetaTensor`` gives such, with its applied operations, so that ``Invertd``
        finds them; else the output is plain.

        Args:
            inputs: images (N, C, H, W), float, on the network's device.
            network: a module or any callable of such images.
            args: given to the network.
            kwargs: given to the network.
        """
        images = convert_to_tensor(inputs, track_meta=False)
        try:
            outputs = self._run(images, network, args, kwargs)
        except torch.OutOfMemoryError as error:
            if torch.is_grad_enabled() or not isinstance(network, nn.Module) or not _is_accelerator(images.device):
                raise
            problem = str(error).partition("\n")[0]
        else:
            return as_given(_like(inputs, outputs))
        # outside of the except block, whose traceback holds on to the pass's tensors
        logger.warning(f"{problem}: going on on the CPU.")
        return as_given(_like(inputs, self._run_on_cpu(images, network, args, kwargs)))

    def _run(
        self, images: torch.Tensor, network: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Outputs:
        given: Any = None

        def forward(images: torch.Tensor) -> Outputs:
            nonlocal given
            if images.ndim == 4:
                images = images.contiguous(memory_format=torch.channels_last)
            with autocast(images.device, self._dtype(images.device)):
                given = network(images, *args, **kwargs)
            return {key: output.float() for key, output in by_key(given).items()}

        outputs = average_flips(forward, images, self.flips)
        if self.explainer is None:
            return outputs
        if not isinstance(given, Mapping):
            raise ValueError(f"an explainer adds to a dict of outputs, and the network gives a {type(given).__name__}.")
        explanation = self.explainer(images, network, outputs)
        if explanation.keys() & outputs.keys():
            raise ValueError(f"network and explainer share a name: {list(outputs)} and {list(explanation)}.")
        outputs.update((key, explained) for key, explained in explanation.items())
        return outputs

    def _run_on_cpu(
        self, images: torch.Tensor, network: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Outputs:
        network.cpu()
        try:
            outputs = self._run(images.cpu(), network, args, kwargs)
        finally:
            network.to(images.device)
        return {key: output.to(images.device) for key, output in outputs.items()}

    def _dtype(self, device: torch.device) -> torch.dtype:
        dtype = resolve_precision(self.precision, device)
        if dtype != torch.float16 or not torch.is_grad_enabled():
            return dtype
        if self.precision == "auto":
            return torch.float32
        raise ValueError(
            "float16 loses small gradients without a gradient scaler: train with bf16 or float32, or call this under"
            " torch.no_grad()."
        )


def _is_accelerator(device: torch.device) -> bool:
    return device.type != "cpu"


def _like(inputs: torch.Tensor, outputs: Outputs) -> Outputs:
    if torch.is_grad_enabled() or not isinstance(inputs, MetaTensor):
        return outputs
    like = MetaTensor([]).copy_meta_from(inputs, copy_attr=False)
    return {key: convert_to_dst_type(output, like, device=output.device)[0] for key, output in outputs.items()}
