from __future__ import annotations

import pytest
import torch
from torch import nn

from tinylesions.networks import SingleTask, VGG16Classifier, VGG16GradingUNet, VGG16UNet

from .tester import WIDTHS, image


def test_a_view_shares_its_weights_and_the_network_stays_as_it_is():
    network = VGG16GradingUNet(widths=WIDTHS).eval()
    everything, grade = network.for_tasks("all"), network.for_tasks("grade")
    outputs = everything(image())
    assert isinstance(network(image()), torch.Tensor)
    torch.testing.assert_close(network(image()), outputs["segmentation"])
    torch.testing.assert_close(grade(image()), outputs["grade"])
    assert [id(weight) for weight in everything.parameters()] == [id(weight) for weight in network.parameters()]
    with torch.no_grad():
        network.grading_head.bias += 1
    torch.testing.assert_close(everything(image())["grade"], outputs["grade"] + 1)


def test_a_view_trains_the_network():
    network = VGG16GradingUNet(widths=WIDTHS)
    before = network.grading_head.weight.detach().clone()
    view = network.for_tasks("all").train()
    optimiser = torch.optim.SGD(view.parameters(), lr=0.1)
    view(image())["grade"].square().sum().backward()
    optimiser.step()
    assert (network.grading_head.weight != before).any()
    view.eval()
    assert not any(module.training for module in network.children())


@pytest.mark.parametrize("tasks", ["grade", "all"])
def test_torchscript_gives_the_same_kind(tasks):
    network = VGG16GradingUNet(widths=WIDTHS, tasks=tasks).eval()
    torch.testing.assert_close(torch.jit.script(network)(image()), network(image()))


def test_single_task_gives_any_network_a_name():
    for network, task in ((VGG16Classifier(widths=WIDTHS), "grade"), (VGG16UNet(widths=WIDTHS), "segmentation")):
        single = SingleTask(network.eval(), task)
        torch.testing.assert_close(single(image()), network(image()))
        torch.testing.assert_close(single.for_tasks("all")(image()), {task: network(image())})


@pytest.mark.parametrize("tasks", ["lesions", ""])
def test_an_unknown_task_is_named(tasks):
    with pytest.raises(ValueError, match=r"'all' or one of grade, segmentation"):
        VGG16GradingUNet(widths=WIDTHS, tasks=tasks)
    with pytest.raises(ValueError, match=r"'all' or one of grade, segmentation"):
        VGG16GradingUNet(widths=WIDTHS).for_tasks(tasks)
    with pytest.raises(ValueError, match=r"'all' or one of grade, not"):
        SingleTask(nn.Identity(), "grade", tasks or "other")
