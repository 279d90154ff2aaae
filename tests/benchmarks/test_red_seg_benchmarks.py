"""The benchmarks of Red-Seg do what they time, and their figures belong together."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch.nn import functional

from benchmarks import training_step, whole_photo
from benchmarks.measure import Measurement
from benchmarks.photos import fundus_photo
from tinylesions.losses import TopKBalancedCELoss
from tinylesions.networks import RedSeg

WIDTHS = (4, 4, 8, 8, 8)
SIZE = (224, 320)
STAGE_1 = training_step.CONTENDERS["stage 1, float32"]


@pytest.fixture
def in_this_process(monkeypatch):
    """Contenders run here, since a process of its own needs seconds to start."""
    for module in (whole_photo, training_step):
        monkeypatch.setattr(module, "alone", lambda function, *args: Measurement(function(*args), 1.0))


def test_one_pass_gives_the_map_of_plain_torch():
    photo = (fundus_photo(SIZE)[0][0] * 255).round().to(torch.uint8)
    found = whole_photo.infer(photo, "float32", WIDTHS, longest_side=80, repeats=1)

    torch.manual_seed(0)
    network = RedSeg(widths=WIDTHS).eval()
    small = functional.avg_pool2d(photo[None].float(), 4)  # 4×4 pixels become one
    mean, deviation = (255 * torch.tensor(x)[:, None, None] for x in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    with torch.no_grad():
        probabilities = torch.sigmoid(network((small - mean) / deviation))
    expected = functional.interpolate(probabilities, SIZE, mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(found["probabilities"], expected, rtol=0, atol=1e-5)
    assert 0 < found["network"] < found["seconds"]


@pytest.mark.parametrize("quick", [True, False])
def test_whole_photo_figures_belong_together(in_this_process, monkeypatch, quick):
    monkeypatch.setattr(whole_photo.photo_inference, "QUICK_WINDOWS", (2, 4))
    rows = whole_photo.compare(quick, SIZE, longest_side=80, widths=WIDTHS)
    assert [row["ratio to Red-Seg"] for row in rows[:2]] == [1, 1]
    assert [row["passes"] for row in rows[:2]] == [1, 1]
    monai, foreground, auto = rows[2:]
    assert monai["passes"] == 6 * 9  # 224 and 320 pixels in steps of 32, windows of 64
    mask = fundus_photo(SIZE)[1][0]
    touching = [mask[top : top + 64, left : left + 64].any() for top in range(0, 161, 32) for left in range(0, 257, 32)]
    assert foreground["passes"] == auto["passes"] == sum(touching)
    assert monai["run here"] == (8 if quick else monai["passes"])
    assert foreground["run here"] <= (8 if quick else foreground["passes"])
    for row, one_pass in zip(rows, (rows[0], rows[1], rows[0], rows[0], rows[1]), strict=True):
        seconds = row["seconds for 320×224"]
        assert row["seconds, network"] + row["seconds, other steps"] == pytest.approx(seconds)
        assert row["ratio to Red-Seg"] == pytest.approx(seconds / one_pass["seconds for 320×224"])


def test_the_papers_photo_has_11704_windows():
    whole = torch.zeros(1, 1, *whole_photo.FULL_SIZE)
    mask = torch.zeros(1, *whole_photo.FULL_SIZE, dtype=torch.bool)
    mask[0, 1400:1500, 2000:2100] = True
    task = whole_photo.photo_inference.task(False, whole, mask)
    assert task.windows(monai=True) == (11704, 11704)
    assert task.windows() == (25, 25)  # the windows of 64 in steps of 32 that touch 100×100 pixels


def test_training_step_figures_belong_together(in_this_process):
    rows = training_step.compare(True, SIZE, WIDTHS, [training_step.RED_SEG])
    assert [row["step"] for row in rows] == [f"stage {n}, {kind}" for n in (1, 2) for kind in ("float32", "bf16")]
    for row in rows:
        parts = [row[f"{name} (s)"] for name in ("forward", "loss", "backward", "optimiser")]
        assert row["steps"] == 3
        assert min(parts) > 0
        assert sum(parts) == pytest.approx(row["step (s)"])
        assert row["step (s)"] <= row["slowest (s)"]
        assert row["share (%)"] == pytest.approx(100 * row["negatives (s)"] / row["step (s)"])
        if row["step"].startswith("stage 1"):
            assert 0 < row["negatives (s)"] < row["loss (s)"] + row["backward (s)"]
        else:
            assert row["negatives (s)"] == 0


def test_the_timed_steps_train(monkeypatch):
    """A step moves the weights as torch's own loop does, whatever is patched to be timed."""
    trained = []
    parse = training_step.bundle_config

    def remembered(bundle, **overrides):
        parser = parse(bundle, **overrides, learning_rate=1e-5, reduction="mean")
        trained.append(parser.get_parsed_content("network"))
        return parser

    monkeypatch.setattr(training_step, "bundle_config", remembered)
    training_step.steps(STAGE_1, SIZE, WIDTHS, warm_up=1, measured=1)

    torch.manual_seed(0)
    network = RedSeg(widths=WIDTHS)
    image, target = training_step.example(training_step.RED_SEG, SIZE, parse())
    optimiser = torch.optim.SGD(network.parameters(), lr=1e-5, momentum=0.9, weight_decay=0.0005)
    untrained = network.state_dict()["encoder.features.0.weight"].clone()
    for _ in range(2):
        heads = network(image)
        loss = TopKBalancedCELoss(0.14, "mean")
        optimiser.zero_grad()
        sum(loss(heads[:, i, [k]], target[:, [k]]) for i in range(4) for k in range(2)).backward()
        optimiser.step()
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(trained[0].state_dict()[name], tensor, msg=name)
    assert not untrained.equal(network.state_dict()["encoder.features.0.weight"])


def test_timed_methods_count_forward_and_backward_and_are_put_back():
    ticks = iter(range(100))
    method = torch.Tensor.topk
    with training_step._timed_methods(("topk",), partial(next, ticks)) as seconds:
        scores = torch.arange(5.0, requires_grad=True)
        loss = (scores * 2).topk(2).values.sum()
        assert seconds == [1]
    loss.backward()
    assert seconds == [1, 1]
    assert scores.grad.tolist() == [0, 0, 0, 2, 2]
    assert torch.Tensor.topk is method
    torch.zeros(3).topk(1)
    assert seconds == [1, 1]


def test_a_loss_that_chooses_otherwise_is_reported():
    with pytest.raises(RuntimeError, match="msort"):
        training_step.steps(replace(STAGE_1, choice=("msort",)), SIZE, WIDTHS, warm_up=0, measured=1)


def test_the_example_is_scaled_and_has_both_lesions():
    image, target = training_step.example(training_step.RED_SEG, SIZE, training_step.bundle_config())
    assert image.shape == (1, 3, *SIZE)
    assert target.shape == (1, 2, *SIZE)
    assert (target.sum((0, 2, 3)) > 0).all()
    assert image.abs().max() < 3
    assert not hasattr(image, "applied_operations")  # a MetaTensor would cost time in every operation
