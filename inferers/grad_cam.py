"""Grad-CAM of a network with several tasks: where each of its layers finds what an answer rests on."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from monai.visualize import GradCAM, ModelWithHooks
from torch import nn

from tinylesions.inferers.precision import autocast

__all__ = ["GradCamMaps"]


def _grade_score(logits: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
    """(N, K) logits → (N, 1): that of the grade which the answers, (N, K) too, predict."""
    return logits.gather(1, answers.argmax(dim=1, keepdim=True))


def _segmentation_score(logits: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
    """(N, K, H, W) logits → (N, 1): the lesions' sum where the answers say lesion, over all where they never do."""
    chosen = answers.argmax(dim=1, keepdim=True) > 0
    chosen |= ~chosen.any(dim=(2, 3), keepdim=True)
    return (logits[:, 1:].sum(dim=1, keepdim=True) * chosen).sum(dim=(2, 3))


_SCORES: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "grade": _grade_score,
    "segmentation": _segmentation_score,
}


class GradCamMaps:
    """Maps of the evidence for a network's answers, by MONAI's ``GradCAM``.

    The score whose gradient weighs a layer's channels is, for the task ``grade``, the logit of the predicted grade.
    For ``segmentation`` it is the sum of the lesions' logits, classes 1 and up, over the pixels that the network
    itself calls lesion (Seg-Grad-CAM), over all pixels where it calls none so. Everything is computed in float32, in
    one pass forward and one back for each task, on a copy of the modules that shares the weights: the network itself
    stays as it is, with its hooks, flags and gradients.

    Grading and segmentation paper (003), figure 8; Grad-CAM: https://arxiv.org/abs/1610.02391; Seg-Grad-CAM:
    https://arxiv.org/abs/2002.11434.

    Args:
        layers: name of a map to its task, ``"grade"`` or ``"segmentation"``, and the name of the module whose output
            is weighed, (N, C, h, w).

    Raises:
        ValueError: there is no such task; in the call: the network has no such layer, or the task does not rest on it.
    """

    def __init__(self, layers: Mapping[str, Sequence[str]]) -> None:
        self.layers: dict[str, tuple[str, str]] = {}
        for name, (task, layer) in layers.items():
            if task not in _SCORES:
                raise ValueError(f"the task of {name} is one of {', '.join(_SCORES)}, not {task!r}.")
            self.layers[name] = (task, layer)

    def __call__(
        self, images: torch.Tensor, network: nn.Module, outputs: Mapping[Any, torch.Tensor] | None = None
    ) -> dict[str, torch.Tensor]:
        """Return each map (N, 1, H, W) float32, 0 to 1, of the images' size: a photo's largest is 1, or all are 0.

        Args:
            images: (N, C, H, W) float, a plain tensor on the network's device; under ``no_grad`` or
                ``inference_mode``, too.
            network: gives a dict with the logits ``grade`` (N, K) and ``segmentation`` (N, K, H, W), or the one that
                is asked for.
            outputs: what the network gave for these images, maybe in a lower precision: these answers are explained. By
                default those of the pass in float32.
        """
        known = [name for name, _ in network.named_modules() if name]
        unknown = [layer for _, layer in self.layers.values() if layer not in known]
        if unknown:
            raise ValueError(f"the network has no layer {', '.join(unknown)}: choose from {', '.join(known)}.")
        maps: dict[str, torch.Tensor] = {}
        with torch.inference_mode(False), torch.enable_grad(), autocast(images.device, torch.float32):
            for task in dict.fromkeys(task for task, _ in self.layers.values()):
                own = list(dict.fromkeys(layer for of_task, layer in self.layers.values() if of_task == task))
                found = dict(zip(own, _task_maps(images, network, task, own, (outputs or {}).get(task)), strict=True))
                maps |= {name: found[layer] for name, (of_task, layer) in self.layers.items() if of_task == task}
        return {name: maps[name] for name in self.layers}


class _Score(nn.Module):
    """What MONAI explains: images to one score each, (N, 1)."""

    def __init__(self, network: nn.Module, task: str, answers: torch.Tensor | None) -> None:
        super().__init__()
        self.network = network
        self.task = task
        self.answers = answers

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        outputs = self.network(images)
        if not isinstance(outputs, Mapping) or self.task not in outputs:
            raise ValueError(f"the network has to give a dict with {self.task!r} to explain it.")
        logits = outputs[self.task].float()
        return _SCORES[self.task](logits, logits if self.answers is None else self.answers)


class _OnePass(ModelWithHooks):
    """MONAI runs the network for each layer anew; this gives the first pass again."""

    passed: tuple[torch.Tensor, ...] | None = None

    def __call__(self, x: Any, class_idx: Any = None, retain_graph: Any = False, **kwargs: Any) -> Any:
        if self.passed is None:
            self.passed = super().__call__(x, class_idx=class_idx, retain_graph=retain_graph, **kwargs)
        return self.passed


def _task_maps(
    images: torch.Tensor, network: nn.Module, task: str, layers: Sequence[str], answers: torch.Tensor | None
) -> list[torch.Tensor]:
    names = [f"network.{layer}" for layer in layers]
    hooked = _OnePass(
        _Score(_copy(network), task, answers).eval(), names, register_forward=True, register_backward=True
    )
    explain = GradCAM(hooked, names, postprocessing=_scaled)  # type: ignore[arg-type]  # its annotations are too narrow
    inputs = images.detach().clone().requires_grad_()  # the weights need no gradients, then
    try:
        hooked(inputs, class_idx=0)
        idle = [layer for layer, name in zip(layers, names, strict=True) if name not in hooked.gradients]
        if idle:
            raise ValueError(f"{task} does not rest on the layer {', '.join(idle)}: choose another one.")
        return [explain(inputs, class_idx=0, layer_idx=index).detach() for index in range(len(layers))]
    finally:
        # hooks and modules hold each other, and with them the activations, until the garbage is collected
        hooked.activations.clear()
        hooked.gradients.clear()
        hooked.passed = hooked.score = None


def _copy(network: nn.Module) -> nn.Module:
    """Modules of its own with the same weights, without gradients and in-place activations, which full hooks forbid."""
    memo: dict[int, Any] = {id(weight): nn.Parameter(weight.detach(), False) for weight in network.parameters()}
    memo |= {id(buffer): buffer for buffer in network.buffers()}
    copied = copy.deepcopy(network, memo)
    for module in copied.modules():
        if getattr(module, "inplace", False):
            module.inplace = False  # type: ignore[assignment]
    return copied


def _scaled(maps: torch.Tensor) -> torch.Tensor:
    """Each photo's map as a share of its maximum; one of zeros stays."""
    largest = maps.amax(dim=(1, 2, 3), keepdim=True)
    return torch.where(largest > 0, maps / largest, 0)
