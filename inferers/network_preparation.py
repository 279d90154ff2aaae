"""A copy of a network that computes the same faster: batch norm folded, weights cast and laid out once."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.nn.utils.fusion import fuse_conv_bn_eval

from tinylesions.inferers.outputs import by_key
from tinylesions.inferers.precision import autocast

__all__ = ["prepare_network", "weights_version"]

_CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)

ROUNDING = 1e-3
"""A larger change, as a share of the largest output, means that folding was wrong."""


def prepare_network(
    network: nn.Module, device: torch.device, dtype: torch.dtype, example: torch.Tensor, *args: Any, **kwargs: Any
) -> nn.Module:
    """Copy a network for inference on a device.

    Weights of convolutions are stored channels last. In reduced precision a batch norm that follows a convolution in
    an ``nn.Sequential`` is folded into it, if that leaves the output for noise as it is, and the convolutions'
    weights are cast once, so that autocast has nothing left to cast. In float32 the arithmetic stays.

    Args:
        network: not changed. A TorchScript module is only moved.
        device: where the copy lies.
        dtype: what the convolutions are autocast to.
        example: one window (1, C, h, w), of which the shape counts.
        args: given to the network.
        kwargs: given to the network.

    Raises:
        TypeError: the network cannot be copied.
    """
    if isinstance(network, (DataParallel, DistributedDataParallel)):
        network = network.module
    prepared = _copied(network).to(device)
    if isinstance(prepared, torch.jit.ScriptModule):
        return prepared
    if dtype != torch.float32:
        folded = copy.deepcopy(prepared)
        if _fold_batch_norms(folded):
            noise = torch.rand(example.shape, generator=torch.Generator().manual_seed(0)).to(example)
            with autocast(device, torch.float32):
                same = _close(folded(noise, *args, **kwargs), prepared(noise, *args, **kwargs))
            prepared = folded if same else prepared
        for module in prepared.modules():
            if type(module) in _CONVOLUTIONS and not _is_hooked(module):
                module.to(dtype)
    return prepared.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # left out of torch's stubs


def weights_version(network: nn.Module) -> tuple[Any, ...]:
    """A value that changes when weights are written to, layers are replaced, or a mode is switched.

    A plain attribute of a module that is set anew is not noticed.
    """
    tensors = [*network.parameters(), *network.buffers()]
    # fused optimisers and `.data` write without counting up the version, norms tell
    norms = [torch.linalg.vector_norm(tensor.detach().float()) for tensor in tensors]
    return (
        tuple((id(module), getattr(module, "training", False)) for module in network.modules()),
        tuple((tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version) for tensor in tensors),
        tuple(torch.stack([norm.cpu() for norm in norms]).tolist()) if norms else (),
    )


def _copied(network: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(network)
    except (RuntimeError, TypeError) as error:  # torch raises one, Python the other
        if isinstance(error, torch.OutOfMemoryError):
            raise
        raise TypeError(
            f"the network cannot be copied ({error}): give the inferer a function that calls it instead."
        ) from error


def _close(outputs: Any, expected: Any) -> bool:
    """Whether outputs are the same but for rounding."""
    pairs = zip(by_key(outputs).values(), by_key(expected).values(), strict=True)
    return all(bool((a - b).abs().max() <= ROUNDING * b.abs().max()) for a, b in pairs)


def _fold_batch_norms(network: nn.Module) -> int:
    """Fold in place and count; only within ``nn.Sequential``, whose layers are meant to run in their order."""
    folded = 0
    for sequence in filter(_is_plain_sequence, network.modules()):
        for (owner, name, layer), (norm_owner, norm_name, norm) in pairwise(_flat(sequence)):
            if isinstance(layer, _CONVOLUTIONS) and isinstance(norm, nn.BatchNorm2d) and _can_fold(layer, norm):
                transposed = isinstance(layer, nn.ConvTranspose2d)
                setattr(owner, name, fuse_conv_bn_eval(layer, norm, transpose=transposed))
                setattr(norm_owner, norm_name, nn.Identity())
                folded += 1
    return folded


def _can_fold(layer: nn.Conv2d | nn.ConvTranspose2d, norm: nn.BatchNorm2d) -> bool:
    subclass = type(layer) not in _CONVOLUTIONS or type(norm) is not nn.BatchNorm2d
    in_use = layer.training or norm.training or _is_hooked(layer) or _is_hooked(norm)
    grouped_transpose = isinstance(layer, nn.ConvTranspose2d) and layer.groups > 1
    has_statistics = norm.running_mean is not None
    reduced = layer.weight.dtype.itemsize < 4
    return has_statistics and not (subclass or in_use or grouped_transpose or reduced)


def _is_hooked(module: nn.Module) -> bool:
    """Whether something else reads or makes the module's weights or outputs, as spectral norm does."""
    return bool(module._forward_hooks or module._forward_pre_hooks or nn.utils.parametrize.is_parametrized(module))


def _is_plain_sequence(module: nn.Module) -> bool:
    """An ``nn.Sequential`` that does not go its own way, as some subclasses do."""
    return isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward


def _flat(sequence: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Module]]:
    """The layers of nested sequences in order, each with the module and the name that hold it."""
    for name, layer in list(sequence._modules.items()):  # `named_children` leaves out a layer's second place
        if layer is None:
            continue
        if _is_plain_sequence(layer):
            yield from _flat(layer)
        else:
            yield sequence, name, layer
