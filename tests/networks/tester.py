"""What every network here must do, once; each network's test is a small subclass."""

from __future__ import annotations

import onnxruntime
import pytest
import torch
from torch import nn

WIDTHS = (4, 8, 8, 16, 16)
"""VGG16's five widths, in small."""


def image(height: int = 32, width: int = 48, channels: int = 3) -> torch.Tensor:
    return torch.rand(2, channels, height, width, generator=torch.Generator().manual_seed(0))


def stir_batch_norms(network: nn.Module) -> nn.Module:
    """Give the batch norms statistics and scales other than the identity's, so that leaving one out shows."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    return network


class NetworkTester:
    """Subclasses give `make` and the shapes that the image becomes."""

    train_shape: tuple[int, ...]
    eval_shape: tuple[int, ...]
    divisor = 16
    """What height and width must be multiples of; 1 where the network pads by itself."""
    size = (32, 48)
    """Height and width of the image, multiples of the divisor."""

    def make(self) -> nn.Module:
        raise NotImplementedError

    @pytest.fixture
    def network(self) -> nn.Module:
        torch.manual_seed(0)
        return stir_batch_norms(self.make())

    def test_shapes(self, network):
        assert network(image(*self.size)).shape == self.train_shape
        assert network.eval()(image(*self.size)).shape == self.eval_shape

    def test_other_sizes_that_the_pools_divide(self, network):
        side = max(self.divisor, 16)
        assert network.eval()(image(side, 5 * side)).shape[2:] == (side, 5 * side)

    def test_training_reaches_every_parameter(self, network):
        network(image(*self.size)).square().mean().backward()
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            # a bias before a batch norm is subtracted again: its gradient is zero but for rounding
            assert parameter.ndim == 1 or parameter.grad.any(), name

    def test_state_dict_restores_the_network(self, network):
        restored = self.make()
        restored.load_state_dict(network.state_dict())
        torch.testing.assert_close(
            restored.eval()(image(*self.size)), network.eval()(image(*self.size)), rtol=0, atol=0
        )

    @pytest.mark.parametrize(("height", "width"), [(33, 48), (48, 38)])
    def test_an_indivisible_size_is_padded_or_named(self, network, height, width):
        if self.divisor == 1:
            assert network.eval()(image(height, width)).shape[-2:] == (height, width)
            return
        with pytest.raises(ValueError, match=f"{height} × {width} .*multiples of {self.divisor}"):
            network.eval()(image(height, width))

    def test_torchscript(self, network):
        scripted = torch.jit.script(network)
        torch.testing.assert_close(scripted(image(*self.size)), network(image(*self.size)))
        scripted = torch.jit.script(network.eval())
        torch.testing.assert_close(scripted(image(*self.size)), network(image(*self.size)))
        if self.divisor == 1:
            torch.testing.assert_close(scripted(image(33)), network(image(33)))
            return
        with pytest.raises(torch.jit.Error, match=f"multiples of {self.divisor}"):
            scripted(image(33))

    def test_compile_without_graph_breaks(self, network):
        network.eval()
        compiled = torch.compile(network, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(image(*self.size)), network(image(*self.size)))

    @pytest.mark.slow
    def test_onnx_with_free_sizes(self, network, tmp_path):
        free = {0: torch.export.Dim.DYNAMIC, 2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
        path = tmp_path / "network.onnx"
        options = {"dynamo": True, "dynamic_shapes": (free,), "input_names": ["image"]}
        torch.onnx.export(network.eval(), (image(*self.size),), path, **options)
        session = onnxruntime.InferenceSession(path)
        for x in (image(*self.size), image(64, max(self.divisor, 16))[:1]):
            (out,) = session.run(None, {"image": x.numpy()})
            torch.testing.assert_close(torch.from_numpy(out), network(x), rtol=1e-4, atol=1e-4)
