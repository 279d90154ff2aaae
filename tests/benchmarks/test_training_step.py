"""The timed steps are those of the bundles, and the runner times what it is asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from benchmarks import training_step
from benchmarks.measure import Measurement
from tinylesions.datasets import OCTA_LESIONS
from tinylesions.datasets.phantoms import draw_octa
from tinylesions.networks import VGG16GradingUNet
from tinylesions.networks.unet_plus_plus import UNetPlusPlus

WIDTHS = (4, 4, 8, 8, 8)
SIZE = (192, 256)
GRADING = training_step.GRADING
OCTA = training_step.OCTA


@pytest.fixture
def in_this_process(monkeypatch):
    """Contenders run here, since a process of its own needs seconds to start."""
    monkeypatch.setattr(training_step, "alone", lambda function, *args: Measurement(function(*args), 1.0))


@pytest.mark.parametrize(
    ("bundle", "step"),
    [(GRADING, "grading + segmentation, 512×512, batch 2"), (OCTA, "UNet++ with attention, 1024×1024, batch 1")],
)
def test_figures_belong_together(in_this_process, bundle, step):
    rows = training_step.compare(True, SIZE, WIDTHS, [bundle])
    assert [row["step"] for row in rows] == [f"{step}, {precision}" for precision in ("float32", "bf16")]
    for row in rows:
        parts = [row[f"{name} (s)"] for name in ("forward", "loss", "backward", "optimiser")]
        assert row["steps"] == 3
        assert min(parts) > 0
        assert sum(parts) == pytest.approx(row["step (s)"])
        assert row["negatives (s)"] == 0
        assert 100 * row["loss (s)"] < row["loss share (%)"] * row["step (s)"] < 100 * (parts[1] + parts[2])


def test_names_say_what_is_timed():
    for name, contender in training_step.CONTENDERS.items():
        assert name.endswith(f", {contender.precision}")
        if contender.bundle in (GRADING, OCTA):
            height, width = contender.size
            assert f"{width}×{height}, batch {contender.batch_size}" in name
        spatial_size = training_step.bundle_config(contender.bundle).get("spatial_size")
        assert spatial_size is None or tuple(spatial_size) == contender.size


def balanced_loss(logits, labels):
    """Cross-entropy of label maps with the weights of their own counts."""
    counts = labels.flatten().long().bincount(minlength=5)
    weight = torch.where(counts > 0, (1 - 0.999) / (1 - 0.999 ** counts.double()), 0).float()
    return functional.cross_entropy(logits, labels[:, 0].long(), weight)


def timed_training(monkeypatch, step, widths, **overrides):
    """Return the network after two timed steps with other settings than the bundle's."""
    trained = []
    parse = training_step.bundle_config

    def remembered(bundle, **settings):
        parser = parse(bundle, **settings, **overrides)
        trained.append(parser.get_parsed_content("network"))
        return parser

    with monkeypatch.context() as patch:
        patch.setattr(training_step, "bundle_config", remembered)
        training_step.steps(training_step.CONTENDERS[step], SIZE, widths, warm_up=1, measured=1)
    return trained[0]


def test_the_timed_steps_of_grading_train(monkeypatch):
    """A step moves the weights as torch's own loop does, whatever is patched to be timed."""
    step = "grading + segmentation, 512×512, batch 2, float32"
    trained = timed_training(monkeypatch, step, WIDTHS, learning_rate=1e-3)

    torch.manual_seed(0)
    parser = training_step.bundle_config(GRADING)
    network = VGG16GradingUNet(widths=WIDTHS, batch_norm=parser.get("batch_norm"), tasks="all")
    images, target = training_step.example(GRADING, SIZE, parser, batch_size=2)
    optimiser = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9, weight_decay=1e-4)
    untrained = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    for _ in range(2):
        logits = network(images.contiguous(memory_format=torch.channels_last))
        loss = functional.cross_entropy(logits["grade"], target["grade"])
        loss = loss + balanced_loss(logits["segmentation"], target["segmentation"])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(trained.state_dict()[name], tensor, rtol=1e-4, atol=1e-6, msg=name)
    assert not untrained["segmentation_head.weight"].equal(network.segmentation_head.weight)
    assert not untrained["grading_head.weight"].equal(network.grading_head.weight)


def test_the_timed_steps_of_octa_train(monkeypatch):
    """Plain gradient descent, since Adam's first steps follow the signs of gradients that are all but zero."""
    sgd = {"optimizer_types#Adam#_target_": "torch.optim.SGD", "learning_rate": 0.1}
    trained = timed_training(monkeypatch, "UNet++ with attention, 1024×1024, batch 1, float32", WIDTHS, **sgd)

    torch.manual_seed(0)
    network = UNetPlusPlus(widths=WIDTHS, channel_attention=True)
    image, truth = training_step.example(OCTA, SIZE, training_step.bundle_config(OCTA))
    untrained = network.head.weight.clone()
    for _ in range(2):
        probability = torch.sigmoid(network(image.contiguous(memory_format=torch.channels_last)))
        overlap = (probability * truth).sum()
        loss = 1 - 2 * overlap / (probability.sum() + truth.sum())  # Dice
        network.zero_grad()
        loss.backward()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter -= 0.1 * parameter.grad
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(trained.state_dict()[name], tensor, rtol=1e-4, atol=1e-5, msg=name)
    assert not untrained.equal(network.head.weight)


def test_the_loss_ends_where_the_backward_pass_of_the_network_begins(monkeypatch):
    events: list[str] = []
    parse = training_step.bundle_config

    def watched(bundle, **overrides):
        parser = parse(bundle, **overrides)
        network = parser.get_parsed_content("network")
        for head in (network.segmentation_head, network.grading_head):
            head.weight.register_hook(lambda _: events.append("network"))
        return parser

    def now(device):
        events.append("time")
        return float(len(events))

    monkeypatch.setattr(training_step, "bundle_config", watched)
    monkeypatch.setattr(training_step, "_now", now)
    contender = training_step.CONTENDERS["grading + segmentation, 512×512, batch 2, float32"]
    (step,) = training_step.steps(contender, SIZE, WIDTHS, warm_up=0, measured=1)
    # start, logits, loss, its backward; then the network's, then the optimiser
    assert events == ["time"] * 4 + ["network"] * 2 + ["time"] * 2
    assert (step.forward, step.loss, step.loss_backward, step.backward, step.optimiser) == (1, 1, 1, 4, 1)


def test_the_example_has_scaled_photos_all_lesions_and_their_grades():
    images, target = training_step.example(GRADING, SIZE, training_step.bundle_config(GRADING), batch_size=2)
    assert images.shape == (2, 3, *SIZE)
    assert not images[0].equal(images[1])
    assert images.abs().max() < 3
    assert type(images) is torch.Tensor  # a MetaTensor would cost time in every operation
    assert target["grade"].tolist() == [3, 3]
    assert target["segmentation"].shape == (2, 1, *SIZE)
    assert target["segmentation"].unique().tolist() == [0, 1, 2, 3, 4]
    for task in ("grade", "segmentation"):
        assert target[f"{task}_weight"].tolist() == [1, 1]


def test_the_octa_example_has_one_channel_and_the_masks_of_one_lesion():
    parser = training_step.bundle_config(OCTA)
    image, truth = training_step.example(OCTA, SIZE, parser)
    assert type(image) is torch.Tensor
    assert image.shape == truth.shape == (1, 1, *SIZE)
    phantom = draw_octa(SIZE, 0, OCTA_LESIONS)
    drawn = phantom.image.astype(float)
    normalised = torch.from_numpy((drawn - drawn.mean()) / drawn.std()).float()
    torch.testing.assert_close(image[0, 0], normalised, rtol=1e-5, atol=1e-5)
    assert parser.get("lesion") == "IRMA"
    assert truth[0, 0].bool().equal(torch.from_numpy(phantom.masks["intraretinal_microvascular_abnormality"]))
    assert truth.any()


def test_the_octa_step_is_that_of_unet_plus_plus_with_attention():
    parser = training_step.bundle_config(OCTA)
    assert parser.get_parsed_content("architecture") == "unet_plus_plus_attention"
    assert parser.get_parsed_content("batch_size") == 1


@pytest.mark.parametrize(
    ("arguments", "bundles"),
    [
        (["--bundle", GRADING], [GRADING]),
        (["--bundle", training_step.RED_SEG], [training_step.RED_SEG]),
        (["--bundle", OCTA], [OCTA]),
        ([], [training_step.RED_SEG, GRADING, OCTA]),
    ],
)
def test_the_runner_times_the_bundle_that_is_named(monkeypatch, capsys, arguments, bundles):
    step = training_step.Step(1.0, 2.0, 3.0, 4.0, negatives=0.5, loss_backward=0.25)
    sizes = []

    def measured(function, contender, size, *args):
        sizes.append((contender.bundle, size))
        return Measurement([replace(step, forward=seconds) for seconds in (9.0, 1.25, 0.0)], 1.0)

    monkeypatch.setattr(training_step, "alone", measured)
    training_step.main(["--quick", *arguments])
    paper = {training_step.RED_SEG: (712, 1072), GRADING: (512, 512), OCTA: (1024, 1024)}
    assert [(bundle, paper[bundle]) for bundle, _ in sizes] == sizes
    assert {bundle for bundle, _ in sizes} == set(bundles)
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 1 + len(sizes)
    for line in printed[1:]:
        assert "1.25" in line  # the step of median length
        assert "10.25" in line
        assert "21.951" in line  # 2.25 of 10.25 are the loss's
