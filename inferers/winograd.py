"""3×3 convolutions with half the products, for processors whose direct convolutions already run at their peak."""

from __future__ import annotations

import torch
import torch.nn.functional as F
import torch.nn.utils.parametrize
from torch import nn

__all__ = ["WinogradConvolution", "use_winograd"]

TILE = 4
"""Rows of the output that are computed together, from TILE + 2 rows of the input."""

NEAR, FAR = 0.75, 1.5
"""The products are those of polynomials at 0, ±NEAR, ±FAR and infinity; bfloat16 loses least with points around 1."""

FEWEST_CHANNELS = (128, 64)
"""Into and out of a layer; with fewer, the sums around the products cost more than the products saved."""

FEWEST_PIXELS = 12 * 8**2
"""Of a batch; for fewer, laying out twice as many weights costs more than the products saved."""


class WinogradConvolution(nn.Module):
    """A 3×3 convolution by Winograd's F(4, 3) along the height and directly along the width.

    Six 1×3 convolutions of a quarter of the rows give what would take twice as many products. Only whole rows are
    added before and after, which is less work than tiles in both dimensions with about as few products.
    Rounding in bfloat16 is four to five times that of the direct convolution. See Lavin and Gray (2016), section 4.1;
    the points are our choice. For inference only: it gives no gradients.

    Args:
        convolution: 3×3 with stride 1, zero padding 1, no dilation and no groups. Its weights are read only here;
            it stays as `direct`, for batches of fewer than `FEWEST_PIXELS` pixels.

    Raises:
        ValueError: another kind of convolution.

    Example:
        >>> convolution = nn.Conv2d(8, 16, kernel_size=3, padding=1)
        >>> x = torch.rand(2, 8, 21, 20)
        >>> torch.allclose(WinogradConvolution(convolution)(x), convolution(x), atol=1e-5)
        True
    """

    kernels: torch.Tensor
    biases: torch.Tensor | None

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        if not _is_eligible(convolution):
            raise ValueError(f"not a plain 3×3 convolution of stride 1 with zero padding 1: {convolution}.")
        self.direct = convolution
        weight, bias = convolution.weight.detach(), convolution.bias
        transform, shares = (matrix.to(weight.device) for matrix in _weight_transform())
        kernels = torch.einsum("pr,kcrs->pksc", transform, weight.double()).unsqueeze(2)
        self.register_buffer("kernels", kernels.to(weight.dtype).contiguous(), persistent=False)
        biases = None if bias is None else torch.outer(shares, bias.detach().double()).to(bias.dtype)
        self.register_buffer("biases", biases, persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (N, out_channels, H, W), channels last, for `x` (N, in_channels, H, W) of the weights' dtype."""
        batch, _, height, width = x.shape
        return self._winograd(x) if batch * height * width >= FEWEST_PIXELS else self.direct(x)

    def _winograd(self, x: torch.Tensor) -> torch.Tensor:
        batch, channels, height, width = x.shape
        tiles = -(-height // TILE)
        # a row of zeros above; below, what fills the last tile, and one more tile, of which it needs two rows
        padded = x.new_empty(batch, TILE * (tiles + 1), width, channels)
        padded[:, 0] = 0
        padded[:, 1 : height + 1] = x.permute(0, 2, 3, 1)
        padded[:, height + 1 :] = 0
        rows = padded.unflatten(1, (tiles + 1, TILE))
        d0, d1, d2, d3, d4, d5 = (rows[:, row // TILE :, row % TILE][:, :tiles] for row in range(TILE + 2))

        near, far = NEAR**2, FAR**2
        even, odd, total = (rows.new_empty(batch, tiles, width, channels) for _ in range(3))
        torch.sub(d4, d2, alpha=near + far, out=total)
        m0 = self._product(0, total.add_(d0, alpha=near * far))
        torch.sub(d5, d3, alpha=near + far, out=total)
        m5 = self._product(5, total.add_(d1, alpha=near * far))
        torch.sub(d4, d2, alpha=far, out=even)
        torch.sub(d3, d1, alpha=far, out=odd)
        m1 = self._product(1, torch.add(even, odd, alpha=NEAR, out=total))
        m2 = self._product(2, torch.sub(even, odd, alpha=NEAR, out=total))
        torch.sub(d4, d2, alpha=near, out=even)
        torch.sub(d3, d1, alpha=near, out=odd)
        m3 = self._product(3, torch.add(even, odd, alpha=FAR, out=total))
        m4 = self._product(4, torch.sub(even, odd, alpha=FAR, out=total))

        near_sum, near_difference = m1 + m2, m1.sub_(m2)
        far_sum, far_difference = torch.add(m3, m4, out=m2), m3.sub_(m4)
        y = m0.new_empty(batch, tiles, TILE, width, m0.shape[-1])
        y0, y1, y2, y3 = y.unbind(2)
        torch.add(m0.add_(near_sum, alpha=1 / NEAR), far_sum, alpha=1 / far, out=y0)
        torch.add(near_difference, far_difference, alpha=1 / FAR, out=y1)
        torch.add(far_sum, near_sum, alpha=NEAR, out=y2)
        torch.add(m5.add_(near_difference, alpha=near), far_difference, alpha=FAR, out=y3)
        return y.flatten(1, 2)[:, :height].permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)

    def _product(self, point: int, rows: torch.Tensor) -> torch.Tensor:
        """Convolve transformed rows (N, tiles, W, C) along their width."""
        kernel = self.kernels[point].permute(0, 3, 1, 2)
        bias = None if self.biases is None else self.biases[point]
        return F.conv2d(rows.permute(0, 3, 1, 2), kernel, bias, padding=(0, 1)).permute(0, 2, 3, 1)


def use_winograd(network: nn.Module) -> int:
    """Replace, in place, the convolutions that are faster so, and return how many.

    Those have `FEWEST_CHANNELS` or more, and no more outputs than inputs. A convolution that has hooks or a
    parametrisation, or is of a subclass, stays.

    Args:
        network: in its final dtype and on its device; the weights are read only now.
    """
    replaced = 0
    for owner in list(network.modules()):
        if isinstance(owner, WinogradConvolution):
            continue
        for name, layer in list(owner._modules.items()):  # `named_children` leaves out a layer's second place
            if type(layer) is nn.Conv2d and _is_eligible(layer) and _pays(layer):
                setattr(owner, name, WinogradConvolution(layer))
                replaced += 1
    return replaced


def _is_eligible(layer: nn.Conv2d) -> bool:
    if layer._forward_hooks or layer._forward_pre_hooks or nn.utils.parametrize.is_parametrized(layer):
        return False
    geometry = (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
    return geometry == ((3, 3), (1, 1), (1, 1), (1, 1)) and layer.groups == 1 and layer.padding_mode == "zeros"


def _pays(layer: nn.Conv2d) -> bool:
    fewest_in, fewest_out = FEWEST_CHANNELS
    return layer.in_channels >= max(fewest_in, layer.out_channels) and layer.out_channels >= fewest_out


def _weight_transform() -> tuple[torch.Tensor, torch.Tensor]:
    """Return what makes six kernels of three rows of weights, (6, 3), and what shares the bias among them, (6,).

    The kernel of a point is the weights' polynomial there, by Lagrange's denominator. ±NEAR also carry a factor of NEAR
    and ±FAR of FAR², so that the last sums need one factor fewer each.
    """
    points = torch.tensor([0, NEAR, -NEAR, FAR, -FAR], dtype=torch.float64)
    scales = torch.tensor([1, NEAR, NEAR, FAR**2, FAR**2], dtype=torch.float64)
    gaps = (points[:, None] - points).fill_diagonal_(1).prod(1)
    infinity = torch.tensor([0, 0, 1], dtype=torch.float64)
    transform = torch.stack([*(scales / gaps)[:, None] * torch.vander(points, 3, increasing=True), infinity])
    outputs = torch.vander(points, TILE, increasing=True) / scales[:, None]
    outputs = torch.stack([*outputs, torch.tensor([0, 0, 0, 1], dtype=torch.float64)])
    return transform, torch.linalg.pinv(outputs.T) @ torch.ones(TILE, dtype=torch.float64)
