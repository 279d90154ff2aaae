"""The hardest pixels against the paper's distance and a full sort, pixel by pixel."""

from __future__ import annotations

import math

import pytest
import torch
from monai.data import MetaTensor
from torch.overrides import TorchFunctionMode

from tinylesions.datasets.errors import InputError
from tinylesions.losses import CompoundLoss, MeanDeepSupervisionLoss, OnlineBootstrappingLoss

PIXELS = 6 * 7
NUMBERS = [1, 5, 30, PIXELS, 1000]


@pytest.fixture
def logits():
    return 3 * torch.randn(3, 5, 6, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture
def labels():
    """Of classes 0 to 3; nothing is of class 4."""
    return torch.randint(0, 4, (3, 1, 6, 7), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


@pytest.fixture
def foreground_logits(logits):
    return logits[:, :1]


@pytest.fixture
def foreground(labels):
    return (labels == 3).to(torch.uint8)


def probabilities(values: list[float]) -> list[float]:
    """Of the classes of one pixel; one logit is the foreground's."""
    if len(values) == 1:
        foreground = 1 / (1 + math.exp(-values[0]))
        return [1 - foreground, foreground]
    exponentials = [math.exp(value) for value in values]
    return [value / sum(exponentials) for value in exponentials]


def literal(logits, labels, number):
    """Equations 2.4 and 2.3 with a full sort: the loss, and the chosen pixels (image, pixel) with their classes."""
    losses, chosen = [], []
    for image in range(logits.shape[0]):
        pixels = logits[image].reshape(logits.shape[1], -1).T.tolist()
        truth = labels[image].flatten().tolist()
        distances = []
        for pixel, (values, label) in enumerate(zip(pixels, truth, strict=True)):
            predicted = probabilities(values)
            wanted = [float(label == index) for index in range(len(predicted))]
            distance = sum(math.sqrt((p - y) ** 2) for p, y in zip(predicted, wanted, strict=True)) / len(predicted)
            distances.append((distance, pixel, -math.log(predicted[int(label)]), int(label)))
        for _, pixel, loss, label in sorted(distances, reverse=True)[:number]:
            losses.append(loss)
            chosen.append((image, pixel, label))
    return sum(losses) / len(losses), chosen


def value_and_gradient(loss, logits, target):
    logits = logits.clone().requires_grad_()
    value = loss(logits, target)
    (gradient,) = torch.autograd.grad(value, logits)
    return value.detach(), gradient


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_against_the_equations(logits, labels, number, dtype):
    loss = OnlineBootstrappingLoss(number)
    expected, chosen = literal(logits, labels, number)
    value, gradient = value_and_gradient(loss, logits.to(dtype), labels)
    assert value.item() == pytest.approx(expected, rel=1e-12 if dtype == torch.float64 else 1e-6)
    touched = gradient.flatten(2).ne(0).any(1).nonzero().tolist()
    assert sorted(touched) == sorted([image, pixel] for image, pixel, _ in chosen)
    classes = [label for *_, label in chosen]
    assert loss.chosen_counts.tolist() == [classes.count(label) for label in range(5)]


@pytest.mark.parametrize("number", NUMBERS)
def test_one_channel_against_the_equations(foreground_logits, foreground, number):
    loss = OnlineBootstrappingLoss(number)
    expected, chosen = literal(foreground_logits, foreground, number)
    value, gradient = value_and_gradient(loss, foreground_logits, foreground)
    assert value.item() == pytest.approx(expected, rel=1e-12)
    probability = torch.sigmoid(foreground_logits)
    mask = torch.zeros(3, PIXELS, dtype=torch.float64)
    for image, pixel, _ in chosen:
        mask[image, pixel] = 1 / len(chosen)
    torch.testing.assert_close(gradient, (probability - foreground) * mask.reshape(3, 1, 6, 7))
    assert loss.chosen_counts.tolist() == [sum(label == index for *_, label in chosen) for index in (0, 1)]


@pytest.mark.parametrize("classes", [2, 7])
@pytest.mark.parametrize("number", [17, 400])
def test_the_largest_cross_entropy_is_the_largest_distance(classes, number):
    """In tensors, of many pixels: the same pixels as a sort of equation 2.4 gives."""
    generator = torch.Generator().manual_seed(classes)
    logits = 2 * torch.randn(2, classes, 24, 40, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, classes, (2, 1, 24, 40), generator=generator)
    truth = torch.zeros_like(logits).scatter_(1, labels, 1)
    distance = (logits.softmax(1) - truth).abs().mean(1).flatten(1)
    assert (distance.sort().values.diff() > 1e-12).all(), "no ties in this example"
    expected = distance.sort(descending=True).indices[:, :number].sort().values
    _, gradient = value_and_gradient(OnlineBootstrappingLoss(number), logits, labels)
    touched = gradient.flatten(2).ne(0).any(1)
    assert torch.stack([row.nonzero().flatten() for row in touched]).equal(expected)


def test_ties_leave_the_value(labels):
    """Equally hard pixels have equal losses, whichever of them are taken."""
    logits = torch.randint(-1, 2, (3, 5, 6, 7), generator=torch.Generator().manual_seed(2)).double()
    for number in (3, 10, 25):
        expected, _ = literal(logits, labels, number)
        assert OnlineBootstrappingLoss(number)(logits, labels).item() == pytest.approx(expected, rel=1e-12)


def test_images_choose_for_themselves(logits, labels):
    """One easy image does not lose its share of the pixels."""
    logits[1] *= 0.01
    loss = OnlineBootstrappingLoss(10)
    alone = torch.stack([OnlineBootstrappingLoss(10)(logits[n : n + 1], labels[n : n + 1]) for n in range(3)])
    torch.testing.assert_close(loss(logits, labels), alone.mean())


def test_all_pixels_are_cross_entropy(logits, labels, foreground_logits, foreground):
    functional = torch.nn.functional
    loss = OnlineBootstrappingLoss(10**9)
    torch.testing.assert_close(loss(logits, labels), functional.cross_entropy(logits, labels[:, 0].long()))
    expected = functional.binary_cross_entropy_with_logits(foreground_logits, foreground.double())
    torch.testing.assert_close(OnlineBootstrappingLoss(PIXELS)(foreground_logits, foreground), expected)


def test_gradient_numerically(labels):
    order = torch.randperm(3 * 5 * PIXELS, generator=torch.Generator().manual_seed(4))
    # far enough apart for the small step of the check not to change which pixels are hardest
    logits = torch.linspace(-3, 3, len(order), dtype=torch.float64)[order].reshape(3, 5, 6, 7).requires_grad_()
    assert torch.autograd.gradcheck(lambda logits: OnlineBootstrappingLoss(7)(logits, labels), logits)
    one = logits.detach()[:, :1].requires_grad_()
    assert torch.autograd.gradcheck(lambda logits: OnlineBootstrappingLoss(7)(logits, labels.clamp(max=1)), one)


def test_counts_add_up_until_they_are_reset(logits, labels):
    loss = OnlineBootstrappingLoss(10)
    assert loss.chosen_counts.tolist() == []
    loss(logits, labels)
    first = loss.chosen_counts.clone()
    assert first.dtype == torch.int64
    assert first.sum() == 3 * 10
    loss(logits.flip(1), labels)
    other = OnlineBootstrappingLoss(10)
    other(logits.flip(1), labels)
    assert loss.chosen_counts.equal(first + other.chosen_counts)
    assert not first.equal(other.chosen_counts)
    loss.reset_counts()
    loss(logits, labels)
    assert loss.chosen_counts.equal(first)


def test_counts_are_no_part_of_the_state(logits, labels):
    loss = OnlineBootstrappingLoss(10)
    loss(logits, labels)
    assert not loss.state_dict()
    OnlineBootstrappingLoss(10).load_state_dict(loss.state_dict())


def test_counts_of_several_heads(logits, labels):
    """The mean over heads of one loss: each head's pixels are counted."""
    loss = OnlineBootstrappingLoss(10)
    heads = torch.stack([logits, -logits, 2 * logits.flip(1)], 1)
    value = MeanDeepSupervisionLoss(loss)(heads, labels)
    counts, values = torch.zeros(5, dtype=torch.int64), []
    for head in heads.unbind(1):
        expected, chosen = literal(head, labels, 10)
        values.append(expected)
        for *_, label in chosen:
            counts[label] += 1
    assert value.item() == pytest.approx(sum(values) / 3, rel=1e-6)  # MONAI's weights are float32
    assert loss.chosen_counts.equal(counts)


def test_another_number_of_classes(logits, labels, foreground):
    loss = OnlineBootstrappingLoss(10)
    loss(logits, labels)
    with pytest.raises(ValueError, match="of 2 classes, but the chosen pixels of 5 classes"):
        loss(logits[:, :1], foreground)
    loss.reset_counts()
    loss(logits[:, :1], foreground)
    assert loss.chosen_counts.tolist() != [0, 0]


@pytest.mark.parametrize("size", [50, 1000])
def test_extreme_logits_have_their_exact_loss(size):
    """Pixels whose probability is rounded to 0 still differ: the wrongest is the hardest."""
    labels = torch.zeros(1, 1, 2, 8, dtype=torch.uint8)
    wrong = torch.linspace(size / 2, size, 16)
    logits = torch.stack([-wrong, wrong, torch.zeros(16)]).reshape(1, 3, 2, 8)
    value, gradient = value_and_gradient(OnlineBootstrappingLoss(1), logits, labels)
    assert value.item() == pytest.approx(2 * size)
    assert gradient.ne(0).any(1).nonzero().tolist() == [[0, 1, 7]]
    value, gradient = value_and_gradient(OnlineBootstrappingLoss(16), -logits, labels)
    assert value.item() == pytest.approx(0, abs=1e-9)
    assert gradient.isfinite().all()
    value, _ = value_and_gradient(OnlineBootstrappingLoss(1), wrong.reshape(1, 1, 2, 8), labels)
    assert value.item() == pytest.approx(size)
    value, gradient = value_and_gradient(OnlineBootstrappingLoss(16), -wrong.reshape(1, 1, 2, 8), labels)
    assert value.item() == pytest.approx(0, abs=1e-9)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("channels", [1, 5])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_of_whole_tiles(dtype, channels):
    generator = torch.Generator().manual_seed(3)
    logits = (20 * torch.randn(2, channels, 256, 256, generator=generator)).to(dtype)
    labels = torch.randint(0, max(channels, 2), (2, 1, 256, 256), generator=generator, dtype=torch.uint8)
    loss = OnlineBootstrappingLoss(65_536)  # in half precision the sum would overflow
    value, gradient = value_and_gradient(loss, logits, labels)
    expected, expected_gradient = value_and_gradient(OnlineBootstrappingLoss(65_536), logits.double(), labels)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)
    assert gradient.dtype == dtype
    torch.testing.assert_close(gradient.double(), expected_gradient, rtol=1e-2, atol=1e-6)
    # of rounded logits that tie at the threshold any may be chosen: the loss is the same
    value = OnlineBootstrappingLoss(4096)(logits, labels)
    expected = OnlineBootstrappingLoss(4096)(logits.double(), labels)
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)


def test_autocast(logits, labels):
    with torch.autocast("cpu", torch.bfloat16):
        value, gradient = value_and_gradient(OnlineBootstrappingLoss(10), logits.bfloat16(), labels)
    expected, _ = literal(logits.bfloat16().double(), labels, 10)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(expected, rel=1e-5)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("label", [0, 2])
def test_one_class_alone(logits, label):
    labels = torch.full((3, 1, 6, 7), label)
    loss = OnlineBootstrappingLoss(10)
    expected, _ = literal(logits, labels, 10)
    value, gradient = value_and_gradient(loss, logits, labels)
    assert value.item() == pytest.approx(expected, rel=1e-12)
    assert gradient.isfinite().all()
    assert loss.chosen_counts.tolist() == [30 * (index == label) for index in range(5)]


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int8, torch.int32, torch.int64, torch.float32])
def test_target_dtypes(foreground_logits, foreground, logits, dtype):
    target = foreground.to(dtype)
    expected, _ = literal(foreground_logits, foreground, 9)
    assert OnlineBootstrappingLoss(9)(foreground_logits, target).item() == pytest.approx(expected, rel=1e-12)
    expected, _ = literal(logits, foreground, 9)
    assert OnlineBootstrappingLoss(9)(logits, target).item() == pytest.approx(expected, rel=1e-12)


def test_one_hot_targets(logits, labels):
    one_hot = torch.zeros(3, 5, 6, 7).scatter_(1, labels.long(), 1)
    expected = OnlineBootstrappingLoss(10)(logits, labels)
    torch.testing.assert_close(OnlineBootstrappingLoss(10)(logits, one_hot), expected)


def test_meta_tensors_give_a_plain_value(logits, labels):
    loss = OnlineBootstrappingLoss(10)
    value = loss(MetaTensor(logits), MetaTensor(labels))
    assert type(value) is torch.Tensor
    assert type(loss.chosen_counts) is torch.Tensor
    assert value.item() == pytest.approx(literal(logits, labels, 10)[0], rel=1e-12)


def test_within_a_sum_of_losses(logits, labels):
    loss = OnlineBootstrappingLoss(10)
    twice = CompoundLoss({"online_bootstrapping": loss, "again": OnlineBootstrappingLoss(10)})
    torch.testing.assert_close(twice(logits, labels), 2 * OnlineBootstrappingLoss(10)(logits, labels))
    assert loss.chosen_counts.sum() == 30


def test_nothing_is_sorted_and_no_gpu_would_wait(logits, labels):
    names = []

    class Calls(TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            names.append((getattr(function, "__name__", ""), kwargs or {}))
            return function(*args, **(kwargs or {}))

    loss = OnlineBootstrappingLoss(10)
    with Calls():
        for _ in range(2):
            loss(logits, labels)
    called = {name for name, _ in names}
    assert [kwargs for name, kwargs in names if name == "topk"] == 2 * [{"sorted": False}]
    assert not called & {"sort", "argsort", "bincount", "unique", "nonzero", "item", "tolist", "cpu", "__bool__"}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("number", NUMBERS)
def test_cuda_gives_the_same(logits, labels, number):
    loss, other = OnlineBootstrappingLoss(number), OnlineBootstrappingLoss(number)
    value, gradient = value_and_gradient(loss, logits.cuda(), labels.cuda())
    expected, expected_gradient = value_and_gradient(other, logits, labels)
    torch.testing.assert_close(value.cpu(), expected)
    torch.testing.assert_close(gradient.cpu(), expected_gradient)
    assert loss.chosen_counts.cpu().equal(other.chosen_counts)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_does_not_wait(logits, labels):
    loss = OnlineBootstrappingLoss(10)
    there, truth = logits.cuda().requires_grad_(), labels.cuda()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(2):
            loss(there, truth).backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("number", [0, -1, 0.5, 512.0, "512"])
def test_no_pixels_are_no_loss(number):
    with pytest.raises(InputError, match=f"^hard_pixels is {number!r}: choose a whole number of pixels, 1 or more"):
        OnlineBootstrappingLoss(number)


def test_class_numbers_that_do_not_exist(logits, labels):
    """A label map of all classes is no target of one channel."""
    with pytest.raises(IndexError, match="out of bounds"):
        OnlineBootstrappingLoss(10)(logits[:, :1], labels)


def test_shapes_that_do_not_fit(logits, labels):
    for target in (labels[0], labels[:1], labels.expand(-1, 2, -1, -1), labels[..., 1:]):
        with pytest.raises(ValueError, match="target has the shape"):
            OnlineBootstrappingLoss()(logits, target)
    with pytest.raises(ValueError, match="not one-hot"):
        OnlineBootstrappingLoss()(logits, torch.zeros_like(logits))
