from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from monai.data import MetaTensor
from torch.nn import functional

from tinylesions.losses import ClassBalancedCELoss
from tinylesions.losses.class_balanced import effective_number_weights

BETAS = [0, 0.5, 0.9, 0.999]


@pytest.fixture
def logits():
    return 3 * torch.randn(3, 5, 6, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture
def labels():
    """Of classes 0 to 3 in very different numbers; nothing is of class 4."""
    uniform = torch.rand(3, 1, 6, 7, generator=torch.Generator().manual_seed(1))
    return (4 * uniform**3).long()


def literal_loss(logits, labels, beta, sample_weight):
    """Equation 2 pixel by pixel, in plain Python numbers: a list of each sample's pixels."""
    counts: dict[int, int] = {}
    for n, weight in enumerate(sample_weight):
        if weight != 0:
            for label in labels[n].flatten().tolist():
                counts[label] = counts.get(label, 0) + 1
    weights = {label: (1 - beta) / (1 - beta**count) for label, count in counts.items()}
    total = 0.0
    for n, weight in enumerate(sample_weight):
        pixels = logits[n].reshape(logits.shape[1], -1).T.tolist()
        for label, values in zip(labels[n].flatten().tolist(), pixels, strict=True):
            if weight != 0:
                largest = max(values)
                partition = sum(math.exp(value - largest) for value in values)
                log_probability = values[label] - largest - math.log(partition)
                total += weight * weights[label] * -log_probability
    return total / sum(weights[label] * count for label, count in counts.items())


def value_and_gradient(loss, logits, *args):
    logits = logits.clone().requires_grad_()
    value = loss(logits, *args)
    (gradient,) = torch.autograd.grad(value, logits)
    return value.detach(), gradient


@pytest.mark.parametrize("sample_weight", [None, [1, 1, 1], [1, 0, 1], [0.5, 1, 0.25], [0, 0, 0.3]])
@pytest.mark.parametrize("beta", BETAS)
def test_against_the_equation(logits, labels, beta, sample_weight):
    given = None if sample_weight is None else torch.tensor(sample_weight)
    expected = literal_loss(logits, labels, beta, sample_weight or [1, 1, 1])
    assert ClassBalancedCELoss(beta)(logits, labels, given).item() == pytest.approx(expected, rel=1e-6)
    single = ClassBalancedCELoss(beta)(logits.float(), labels, given)
    assert single.dtype == torch.float32
    assert single.item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("sample_weight", [[1, 1, 1, 1], [0, 1, 0.5, 0]])
@pytest.mark.parametrize("shape", [(4,), (4, 1)])
@pytest.mark.parametrize("beta", BETAS)
def test_whole_samples(logits, beta, shape, sample_weight):
    grades = torch.tensor([2, 0, 2, 4])
    logits = logits[0, :, 0, :4].T
    value = ClassBalancedCELoss(beta)(logits, grades.reshape(shape), torch.tensor(sample_weight))
    assert value.item() == pytest.approx(literal_loss(logits, grades, beta, sample_weight), rel=1e-6)


def test_whole_samples_are_images_of_one_pixel(logits, labels):
    pixels, truth = logits[:, :, 0, 0], labels[:, 0, 0, 0]
    loss = ClassBalancedCELoss(0.9)
    torch.testing.assert_close(loss(pixels, truth), loss(pixels[..., None, None], truth[:, None, None, None]))


def test_label_maps_without_a_channel(logits, labels):
    loss = ClassBalancedCELoss()
    torch.testing.assert_close(loss(logits, labels[:, 0]), loss(logits, labels), rtol=0, atol=0)


def test_without_balance_it_is_torchs_cross_entropy(logits, labels):
    value, gradient = value_and_gradient(ClassBalancedCELoss(0), logits, labels)
    expected, expected_gradient = value_and_gradient(functional.cross_entropy, logits, labels[:, 0])
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(gradient, expected_gradient)


@pytest.mark.parametrize("beta", [0.9, 0.999])
def test_it_is_torchs_weighted_mean_with_the_weights_of_the_batch(logits, labels, beta):
    counts = [int((labels == i).sum()) for i in range(5)]
    weight = torch.tensor([(1 - beta) / (1 - beta**n) if n else 0 for n in counts], dtype=torch.float64)
    assert counts[4] == 0
    value, gradient = value_and_gradient(ClassBalancedCELoss(beta), logits, labels)
    expected, expected_gradient = value_and_gradient(
        lambda logits: functional.cross_entropy(logits, labels[:, 0], weight), logits
    )
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(gradient, expected_gradient)


@pytest.mark.parametrize("sample_weight", [None, [0.5, 0, 1]])
def test_gradient_numerically(logits, labels, sample_weight):
    weight = None if sample_weight is None else torch.tensor(sample_weight, dtype=torch.float64)
    logits, labels = logits[..., :3, :3].clone().requires_grad_(), labels[..., :3, :3]
    assert torch.autograd.gradcheck(lambda x: ClassBalancedCELoss(0.9)(x, labels, weight), logits)


def test_the_order_of_classes_samples_and_pixels_does_not_matter(logits, labels):
    loss, weight = ClassBalancedCELoss(0.9), torch.tensor([1.0, 0.5, 0.25])
    expected = loss(logits, labels, weight)
    order = torch.tensor([3, 0, 4, 1, 2])
    torch.testing.assert_close(loss(logits[:, order], order.argsort()[labels], weight), expected)
    torch.testing.assert_close(loss(logits[[2, 0, 1]], labels[[2, 0, 1]], weight[[2, 0, 1]]), expected)
    torch.testing.assert_close(loss(logits.flip(-1).mT, labels.flip(-1).mT, weight), expected)


@pytest.mark.parametrize("beta", BETAS)
def test_a_constant_for_every_class_does_not_change_it(logits, labels, beta):
    loss = ClassBalancedCELoss(beta)
    torch.testing.assert_close(loss(logits + torch.randn(3, 1, 6, 7), labels), loss(logits, labels))


def test_a_batch_is_balanced_by_its_own_counts(logits, labels):
    """The counts are of the whole batch: it is not the mean of the losses of its images."""
    loss = ClassBalancedCELoss(0.9)
    alone = torch.stack([loss(logits[[n]], labels[[n]]) for n in range(3)]).mean()
    assert abs(loss(logits, labels) - alone) > 1e-3
    value = loss(logits[:2], labels[:2]).item()
    assert value == pytest.approx(literal_loss(logits[:2], labels[:2], 0.9, [1, 1]), rel=1e-6)


def test_the_rare_class_weighs_more():
    """One lesion pixel of 10 000: of the gradient it has 1 / (1 + w₀ n₀) = 1 / 11, not 1 / 10 000."""
    labels = torch.zeros(1, 1, 100, 100)
    labels[0, 0, 3, 5] = 1
    _, gradient = value_and_gradient(ClassBalancedCELoss(0.999), torch.zeros(1, 2, 100, 100), labels)
    share = gradient[0, 0, 3, 5] / gradient[0, 0].abs().sum()
    assert share.item() == pytest.approx(1 / (1 + 9999 * 0.001 / (1 - 0.999**9999)), rel=1e-4)


def test_absent_classes_get_a_gradient_but_no_weight(logits, labels):
    other = torch.cat([logits, torch.full((3, 2, 6, 7), -torch.inf, dtype=torch.float64)], 1)
    torch.testing.assert_close(ClassBalancedCELoss()(other, labels), ClassBalancedCELoss()(logits, labels))
    _, gradient = value_and_gradient(ClassBalancedCELoss(), logits, labels)
    assert (gradient[:, 4] > 0).all()


def test_one_class_alone_is_plain_cross_entropy(logits):
    for label in (0, 4):
        labels = torch.full((3, 1, 6, 7), label)
        torch.testing.assert_close(
            ClassBalancedCELoss()(logits, labels), functional.cross_entropy(logits, labels[:, 0]), check_dtype=False
        )


@pytest.mark.parametrize("unknown", [-1, 7, 255])
def test_unlabelled_samples_count_nowhere(logits, labels, unknown):
    labels[1] = unknown
    weight = torch.tensor([1.0, 0.0, 0.5])
    value, gradient = value_and_gradient(ClassBalancedCELoss(0.9), logits, labels, weight)
    kept = torch.tensor([0, 2])
    expected, expected_gradient = value_and_gradient(ClassBalancedCELoss(0.9), logits[kept], labels[kept], weight[kept])
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(gradient[kept], expected_gradient)
    assert (gradient[1] == 0).all()


def test_half_weights_halve_the_loss(logits, labels):
    loss = ClassBalancedCELoss()
    torch.testing.assert_close(loss(logits, labels, torch.full((3,), 0.5)), 0.5 * loss(logits, labels))


@pytest.mark.parametrize("spatial", [(), (6, 7)])
def test_nothing_labelled_gives_zeros_that_flow(spatial):
    logits = torch.randn(2, 5, *spatial, requires_grad=True)
    value = ClassBalancedCELoss()(logits, torch.full((2, 1, *spatial), -1), torch.zeros(2))
    value.backward()
    assert value.item() == 0
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("beta", BETAS)
def test_large_logits(beta):
    logits = torch.tensor([[50.0, -50.0], [-50.0, 50.0]])
    value, gradient = value_and_gradient(ClassBalancedCELoss(beta), logits, torch.tensor([0, 1]))
    assert value.item() == 0
    assert gradient.isfinite().all()
    value, gradient = value_and_gradient(ClassBalancedCELoss(beta), logits, torch.tensor([1, 0]))
    assert value.item() == pytest.approx(100)
    torch.testing.assert_close(gradient, torch.tensor([[0.5, -0.5], [-0.5, 0.5]]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("beta", [0.1, 0.9, 0.999, 0.9999999])
def test_weights_of_any_count(beta, dtype):
    counts = [1, 2, 10, 1000, 20_000]
    exact = Fraction(beta)
    expected = [
        float((1 - exact) / (1 - exact**n)) if n < 1000 else (1 - beta) / -math.expm1(n * math.log(beta))
        for n in counts
    ]
    weights = effective_number_weights(torch.tensor(counts, dtype=dtype), beta)
    torch.testing.assert_close(weights, torch.tensor(expected, dtype=dtype), rtol=1e-6, atol=0)
    assert weights[0].item() == pytest.approx(1, rel=1e-6)


def test_weights_of_no_pixel_and_of_very_many():
    weights = effective_number_weights(torch.tensor([0.0, 1e9, 1e30]), 0.999)
    torch.testing.assert_close(weights, torch.tensor([0.0, 0.001, 0.001]), rtol=1e-6, atol=0)
    assert effective_number_weights(torch.tensor([0.0, 1.0, 1e9]), 0).tolist() == [0, 1, 1]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_of_a_whole_photo(dtype):
    logits = torch.full((2, 5, 512, 512), -50.0, dtype=dtype)
    logits[:, 0] = 50
    labels = torch.zeros(2, 1, 512, 512, dtype=torch.uint8)
    labels[..., :256] = 1  # half of the pixels cost 100 each, 65 504 is the largest float16
    value, gradient = value_and_gradient(ClassBalancedCELoss(), logits, labels)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(50, rel=1e-6)
    assert gradient.dtype == dtype
    assert gradient.isfinite().all()


def test_autocast_sums_in_float32(logits, labels):
    half, weight = logits.bfloat16(), torch.tensor([1.0, 0.3, 0.7])
    with torch.autocast("cpu", torch.bfloat16):
        value, gradient = value_and_gradient(ClassBalancedCELoss(), half, labels, weight)
    assert value.dtype == torch.float32
    expected, expected_gradient = value_and_gradient(ClassBalancedCELoss(), half.double(), labels, weight.double())
    assert value.item() == pytest.approx(expected.item(), rel=1e-6)
    torch.testing.assert_close(gradient.double(), expected_gradient, rtol=1e-2, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int32, torch.int64, torch.float16, torch.float32])
def test_target_dtypes(logits, labels, dtype):
    loss = ClassBalancedCELoss()
    torch.testing.assert_close(loss(logits, labels.to(dtype)), loss(logits, labels))


def test_meta_tensors_give_a_plain_value(logits, labels):
    weight = torch.tensor([1.0, 0.5, 0.0])
    value = ClassBalancedCELoss()(MetaTensor(logits), MetaTensor(labels), MetaTensor(weight))
    assert type(value) is torch.Tensor
    torch.testing.assert_close(value, ClassBalancedCELoss()(logits, labels, weight))


def test_other_memory_layouts(logits, labels):
    loss = ClassBalancedCELoss()
    found = loss(logits.contiguous(memory_format=torch.channels_last), labels.mT.contiguous().mT)
    torch.testing.assert_close(found, loss(logits, labels))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("sample_weight", [[1, 1, 1], [0.5, 0, 1], [0, 0, 0]])
def test_cuda_gives_the_same(logits, labels, sample_weight):
    weight = torch.tensor(sample_weight)
    value, gradient = value_and_gradient(ClassBalancedCELoss(), logits.cuda(), labels.cuda(), weight.cuda())
    expected, expected_gradient = value_and_gradient(ClassBalancedCELoss(), logits, labels, weight)
    assert value.is_cuda
    torch.testing.assert_close(value.cpu(), expected)
    torch.testing.assert_close(gradient.cpu(), expected_gradient)


@pytest.mark.parametrize("value", [-100, -1, 5, 255, 0.5, math.nan])
def test_class_numbers_that_do_not_exist(logits, labels, value):
    target = labels.float()
    target[2, 0, 3, 4] = value
    with pytest.raises(ValueError, match="other than the 5 class numbers 0 to 4"):
        ClassBalancedCELoss()(logits, target, torch.tensor([0.0, 1.0, 0.5]))


@pytest.mark.parametrize("weight", [-1.0, math.nan])
def test_weights_out_of_range(logits, labels, weight):
    with pytest.raises(ValueError, match="negative values or NaN"):
        ClassBalancedCELoss()(logits, labels, torch.tensor([1.0, weight, 1.0]))


@pytest.mark.parametrize("beta", [-0.1, 1, 1.5, math.nan])
def test_beta_out_of_range(beta):
    with pytest.raises(ValueError, match="beta must be"):
        ClassBalancedCELoss(beta)


def test_shapes_that_do_not_fit(logits, labels):
    loss = ClassBalancedCELoss()
    for target in (labels[:1], labels[..., 1:], labels.expand(-1, 5, -1, -1), labels[:, 0, 0]):
        with pytest.raises(ValueError, match="target has the shape"):
            loss(logits, target)
    with pytest.raises(ValueError, match="target has the shape"):
        loss(logits[..., 0, 0], torch.zeros(4, dtype=torch.long))
    for weight in (torch.ones(2), torch.ones(3, 1), torch.tensor(1.0)):
        with pytest.raises(ValueError, match="sample_weight has the shape"):
            loss(logits, labels, weight)
