from __future__ import annotations

import pytest
import torch
from ignite.engine import Engine
from monai.data import MetaTensor
from monai.inferers import SimpleInferer
from torch import nn

from tinylesions.handlers import BatchNormStatistics
from tinylesions.inferers import WholeImageInferer

IMAGES = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 3 + 2
BATCHES = [{"image": image[None], "label": torch.zeros(1)} for image in IMAGES]


def evaluator(network: nn.Module) -> Engine:
    engine = Engine(lambda engine, batch: network.eval()(batch["image"]))
    BatchNormStatistics(network, BATCHES, SimpleInferer(), "cpu").attach(engine)
    return engine


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU())


class TestBatchNormStatistics:
    def test_statistics_are_the_means_over_all_images(self):
        stale = network()
        stale[1].running_mean.fill_(100.0)
        stale[1].running_var.fill_(1e-3)
        evaluator(stale).run(BATCHES)
        with torch.no_grad():
            features = stale[0](IMAGES).double()
        torch.testing.assert_close(stale[1].running_mean.double(), features.mean((0, 2, 3)))
        torch.testing.assert_close(stale[1].running_var.double(), features.var((2, 3)).mean(0), rtol=1e-5, atol=1e-6)

    def test_each_validation_measures_anew(self):
        trained = network()
        engine = evaluator(trained)
        engine.run(BATCHES)
        first = trained[1].running_mean.clone()
        with torch.no_grad():
            trained[0].bias += 7.0
        engine.run(BATCHES)
        torch.testing.assert_close(trained[1].running_mean, first + 7.0)

    @pytest.mark.parametrize("training", [True, False])
    def test_leaves_weights_mode_and_momentum(self, training):
        trained = network().train(training)
        weights = {name: value.clone() for name, value in trained.named_parameters()}
        BatchNormStatistics(trained, BATCHES, SimpleInferer(), "cpu")(Engine(lambda engine, batch: None))
        assert trained.training is training
        assert trained[1].momentum == 0.1
        assert all(torch.equal(value, weights[name]) for name, value in trained.named_parameters())

    def test_network_without_batch_norm_is_not_run(self):
        class Refusing(nn.Conv2d):
            def forward(self, x):
                raise AssertionError

        BatchNormStatistics(Refusing(1, 1, 1), BATCHES, SimpleInferer(), "cpu")(Engine(lambda engine, batch: None))

    def test_statistics_are_those_of_the_inferer_s_arithmetic(self):
        """Of features in bfloat16, which differ from those in float32 by more than a mean rounds off."""
        measured = network()
        inferer = WholeImageInferer(precision="bf16")
        BatchNormStatistics(measured, BATCHES, inferer, "cpu")(Engine(lambda engine, batch: None))
        weights = measured[0].weight.detach(), measured[0].bias.detach()
        exact = nn.functional.conv2d(IMAGES, *weights).double().mean((0, 2, 3))
        rounded = nn.functional.conv2d(IMAGES.bfloat16(), *(weight.bfloat16() for weight in weights))
        difference = (rounded.double().mean((0, 2, 3)) - exact).abs().max().item()
        assert difference > 1e-4
        found = measured[1].running_mean.double()
        torch.testing.assert_close(found, rounded.double().mean((0, 2, 3)), rtol=0, atol=difference / 10)

    def test_the_inferer_gets_plain_tensors_of_all_images_and_the_network(self):
        """A MetaTensor costs time in every operation."""
        measured, given = network(), []

        class Spy(SimpleInferer):
            def __call__(self, inputs, network, *args, **kwargs):
                given.append((inputs, network))
                return super().__call__(inputs, network, *args, **kwargs)

        batches = [{"image": MetaTensor(batch["image"])} for batch in BATCHES]
        BatchNormStatistics(measured, batches, Spy(), "cpu")(Engine(lambda engine, batch: None))
        assert [type(inputs) for inputs, _ in given] == [torch.Tensor] * len(IMAGES)
        assert torch.equal(torch.cat([inputs for inputs, _ in given]), IMAGES)
        assert all(network is measured for _, network in given)
