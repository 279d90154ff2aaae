"""The timed step of grading and segmentation is the bundle's, and the runner times what it is asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from benchmarks import training_step
from benchmarks.measure import Measurement
from tinylesions.networks import VGG16GradingUNet

WIDTHS = (4, 4, 8, 8, 8)
SIZE = (192, 256)
GRADING = training_step.GRADING


@pytest.fixture
def in_this_process(monkeypatch):
    """Contenders run here, since a process of its own needs seconds to start."""
    monkeypatch.setattr(training_step, "alone", lambda function, *args: Measurement(function(*args), 1.0))


def test_figures_of_grading_and_segmentation_belong_together(in_this_process):
    rows = training_step.compare(True, SIZE, WIDTHS, [GRADING])
    assert [row["step"] for row in rows] == [
        f"grading + segmentation, 512×512, batch 2, {precision}" for precision in ("float32", "bf16")
    ]
    for row in rows:
        parts = [row[f"{name} (s)"] for name in ("forward", "loss", "backward", "optimiser")]
        assert row["steps"] == 3
        assert min(parts) > 0
        assert sum(parts) == pytest.approx(row["step (s)"])
        assert row["negatives (s)"] == 0


def test_names_say_what_is_timed():
    for name, contender in training_step.CONTENDERS.items():
        assert name.endswith(f", {contender.precision}")
        if contender.bundle == GRADING:
            height, width = contender.size
            assert f"{width}×{height}, batch {contender.batch_size}" in name
        spatial_size = training_step.bundle_config(contender.bundle).get("spatial_size")
        assert spatial_size is None or tuple(spatial_size) == contender.size


def balanced_loss(logits, labels):
    """Cross-entropy of label maps with the weights of their own counts."""
    counts = labels.flatten().long().bincount(minlength=5)
    weight = torch.where(counts > 0, (1 - 0.999) / (1 - 0.999 ** counts.double()), 0).float()
    return functional.cross_entropy(logits, labels[:, 0].long(), weight)


def test_the_timed_steps_train(monkeypatch):
    """A step moves the weights as torch's own loop does, whatever is patched to be timed."""
    trained = []
    parse = training_step.bundle_config

    def remembered(bundle, **overrides):
        parser = parse(bundle, **overrides, learning_rate=1e-3)
        trained.append(parser.get_parsed_content("network"))
        return parser

    monkeypatch.setattr(training_step, "bundle_config", remembered)
    contender = training_step.CONTENDERS["grading + segmentation, 512×512, batch 2, float32"]
    training_step.steps(contender, SIZE, WIDTHS, warm_up=1, measured=1)

    torch.manual_seed(0)
    network = VGG16GradingUNet(widths=WIDTHS, batch_norm=parse(GRADING).get("batch_norm"), tasks="all")
    images, target = training_step.example(GRADING, SIZE, parse(GRADING), batch_size=2)
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
        torch.testing.assert_close(trained[0].state_dict()[name], tensor, rtol=1e-4, atol=1e-6, msg=name)
    assert not untrained["segmentation_head.weight"].equal(network.segmentation_head.weight)
    assert not untrained["grading_head.weight"].equal(network.grading_head.weight)


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


@pytest.mark.parametrize(
    ("arguments", "bundles"),
    [
        (["--bundle", GRADING], [GRADING]),
        (["--bundle", training_step.RED_SEG], [training_step.RED_SEG]),
        ([], [training_step.RED_SEG, GRADING]),
    ],
)
def test_the_runner_times_the_bundle_that_is_named(monkeypatch, capsys, arguments, bundles):
    step = training_step.Step(1.0, 2.0, 3.0, 4.0, negatives=0.5)
    sizes = []

    def measured(function, contender, size, *args):
        sizes.append((contender.bundle, size))
        return Measurement([replace(step, forward=seconds) for seconds in (9.0, 1.25, 0.0)], 1.0)

    monkeypatch.setattr(training_step, "alone", measured)
    training_step.main(["--quick", *arguments])
    paper = {training_step.RED_SEG: (712, 1072), GRADING: (512, 512)}
    assert [(bundle, paper[bundle]) for bundle, _ in sizes] == sizes
    assert {bundle for bundle, _ in sizes} == set(bundles)
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 1 + len(sizes)
    for line in printed[1:]:
        assert "1.25" in line  # the step of median length
        assert "10.25" in line
