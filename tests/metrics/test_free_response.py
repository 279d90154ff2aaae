"""Free-response scores against a literal sweep over thresholds and against MONAI's curve."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed
from monai.data import MetaTensor
from monai.metrics.froc import compute_fp_tp_probs_nd, compute_froc_curve_data, compute_froc_score
from skimage.measure import label
from torch.nn.functional import max_pool2d

from tinylesions.datasets.masks import read_mask
from tinylesions.metrics.free_response import (
    FALSE_POSITIVE_RATES,
    FreeResponseMetric,
    FreeResponseScores,
    sensitivity_at_rates,
)
from tinylesions.metrics.score_histogram import SCORE_BINS

SIZE = (24, 31)
Photo = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Probabilities, truth and field of view of one class, (H, W) each."""


def photo(seed: int, lesions: int = 6) -> Photo:
    """Lesions and false alarms of 3×3 pixels that touch, merge and leave the field of view, and single pixels."""
    rng = np.random.default_rng(seed)

    def squares(count: int, values: np.ndarray) -> np.ndarray:
        points = np.zeros(SIZE)
        points[rng.integers(0, SIZE[0], count), rng.integers(0, SIZE[1], count)] = values
        return max_pool2d(torch.from_numpy(points)[None], 3, 1, 1)[0].numpy()

    truth = squares(lesions, np.ones(lesions)) > 0
    alarms = squares(10, rng.integers(1, 1024, 10) / 1024)
    # multiples of 1/1024 have a bin each
    scores = np.where(truth & (rng.random(SIZE) < 0.4), rng.integers(1, 1024, SIZE) / 1024, alarms)
    speckle = rng.random(SIZE) < 0.05
    scores[speckle] = rng.integers(1, 1024, speckle.sum()) / 1024
    mask = np.ones(SIZE, dtype=bool)
    mask[:, :4] = False
    return scores.astype(np.float32), truth, mask


def components(mask: np.ndarray) -> list[set[tuple[int, int]]]:
    """8-connected components, pixel by pixel."""
    left = {(int(row), int(column)) for row, column in np.argwhere(mask)}
    result = []
    while left:
        component, border = set(), [left.pop()]
        while border:
            row, column = border.pop()
            component.add((row, column))
            for neighbour in [(row + i, column + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]:
                if neighbour in left:
                    left.remove(neighbour)
                    border.append(neighbour)
        result.append(component)
    return result


def counts_by_definition(photos: list[Photo], at: float, threshold: float, overlap: float) -> tuple[int, int, int]:
    """Detected lesions, false positives and lesions, at one score."""
    detected = false_positives = total = 0
    for scores, truth, mask in photos:
        lesions = components(truth)
        total += len(lesions)
        found = set()
        for candidate in components((scores >= np.float32(threshold)) & mask):
            if max(scores[pixel] for pixel in candidate) < at:
                continue
            on_lesions = sum(bool(truth[pixel]) for pixel in candidate)
            if on_lesions > 0 and on_lesions / len(candidate) >= overlap:
                found |= {index for index, lesion in enumerate(lesions) if lesion & candidate}
            else:
                false_positives += 1
        detected += len(found)
    return detected, false_positives, total


def sensitivity_by_definition(photos: list[Photo], threshold: float, overlap: float) -> list[float]:
    """Sweep over every score there is, then read the curve from left to right."""
    curve = [(0.0, 0.0)]
    for at in sorted({float(s) for scores, _, _ in photos for s in scores.flat if s > 0}, reverse=True):
        detected, false_positives, total = counts_by_definition(photos, at, threshold, overlap)
        curve.append((false_positives / len(photos), detected / total))
    values = []
    for rate in FALSE_POSITIVE_RATES:
        before = [point for point in curve if point[0] <= rate][-1]
        after = [point for point in curve if point[0] > rate][:1] or [before]
        share = 0 if before[0] == rate or after[0] == before else (rate - before[0]) / (after[0][0] - before[0])
        values.append(before[1] + share * (after[0][1] - before[1]))
    return values


def tensors(photos: list[Photo]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    scores, truth, mask = (torch.from_numpy(np.stack(part))[:, None] for part in zip(*photos, strict=True))
    return scores, truth, mask


def measure(photos: list[Photo], **options: float) -> FreeResponseScores:
    metric = FreeResponseMetric(**options)
    scores, truth, mask = tensors(photos)
    metric(scores, truth, mask=mask)
    return metric.aggregate()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("overlap", [0, 0.2, 0.5, 1])
@pytest.mark.parametrize("threshold", [0.1, 0.3])
def test_against_a_literal_sweep(seed, overlap, threshold):
    photos = [photo(10 * seed + index) for index in range(3)]
    found = measure(photos, threshold=threshold, overlap=overlap)
    np.testing.assert_allclose(found.sensitivity[0], sensitivity_by_definition(photos, threshold, overlap), atol=1e-12)
    detected, false_positives, total = counts_by_definition(photos, 0.5, threshold, overlap)
    assert found.true_positives.tolist() == [detected]
    assert found.false_positives.tolist() == [false_positives]
    assert found.false_negatives.tolist() == [total - detected]
    assert found.score.tolist() == pytest.approx([np.mean(found.sensitivity.numpy())])


def test_the_overlap_changes_the_sweep():
    photos = [photo(index) for index in range(3)]
    scores = [float(measure(photos, overlap=overlap).score) for overlap in (0, 0.2, 0.5, 1)]
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) == 4


@pytest.mark.parametrize("seed", range(3))
def test_against_monai_with_single_pixels_as_candidates(seed):
    """MONAI's points are our candidates of one pixel; its curve is right where some lesion is missed (score 0)."""
    rng = np.random.default_rng(seed)
    photos, false_positives, detected = [], [], []
    for index in range(5):
        _, truth, _ = photo(100 * seed + index, lesions=8)
        truth[-3:, -3:] = True
        rows, columns = (part.ravel() for part in np.meshgrid(range(0, 20, 3), range(0, 27, 3), indexing="ij"))
        scores = np.zeros(SIZE, dtype=np.float32)
        scores[rows, columns] = rng.integers(128, 1024, len(rows)) / 1024
        photos.append((scores, truth, np.ones(SIZE, dtype=bool)))
        points = np.stack([rows, columns], axis=1)
        wrong, right, _ = compute_fp_tp_probs_nd(scores[rows, columns], points, label(truth, connectivity=2))
        false_positives.append(wrong)
        detected.append(right)
    detected = np.concatenate(detected)
    assert detected.min() == 0
    curve = compute_froc_curve_data(np.concatenate(false_positives), detected, len(detected), len(photos))
    found = measure(photos)
    for rate, value in zip(FALSE_POSITIVE_RATES, found.sensitivity[0], strict=True):
        assert float(value) == pytest.approx(compute_froc_score(*curve, eval_thresholds=(rate,)), abs=1e-12)
    assert float(found.score) == pytest.approx(compute_froc_score(*curve, FALSE_POSITIVE_RATES), abs=1e-12)


def test_only_the_order_of_scores_counts():
    photos = [photo(index) for index in range(3)]
    squared = [(scores**2, truth, mask) for scores, truth, mask in photos]
    plain = measure(photos, threshold=0.25).sensitivity
    assert torch.equal(measure(squared, threshold=0.0625).sensitivity, plain)
    assert (plain.diff() >= 0).all()


def draw(*rows: str) -> np.ndarray:
    """A map from digits: tenths, a dot is 0."""
    return np.array([[0 if sign == "." else int(sign) / 10 for sign in row] for row in rows], dtype=np.float32)


def one(scores: np.ndarray, truth: np.ndarray, mask: np.ndarray | None = None, **options: float) -> FreeResponseScores:
    everywhere = np.ones(scores.shape, dtype=bool)
    return measure([(scores, truth > 0, everywhere if mask is None else mask > 0)], **options)


def counts(scores: FreeResponseScores) -> tuple[int, int, int]:
    return int(scores.true_positives), int(scores.false_positives), int(scores.false_negatives)


def test_pixels_that_touch_by_a_corner_are_one():
    assert counts(one(draw("7...", ".8..", "...."), draw("....", "....", "...."))) == (0, 1, 0)
    assert counts(one(draw("9...", "....", "...."), draw("1...", ".1..", "...1"))) == (1, 0, 1)


def test_a_candidate_over_two_lesions_detects_both():
    assert counts(one(draw("6669"), draw("1..1"))) == (2, 0, 0)
    assert one(draw("2229"), draw("1..1")).sensitivity.tolist() == [[1] * 7]


def test_a_lesion_takes_its_best_candidate():
    assert counts(one(draw("4.9"), draw("111"))) == (1, 0, 0)


def test_the_threshold_belongs_to_the_candidates():
    assert one(draw("55."), draw("1.."), threshold=0.5).sensitivity.tolist() == [[1] * 7]
    assert one(draw("44."), draw("1.."), threshold=0.5).sensitivity.tolist() == [[0] * 7]


@pytest.mark.parametrize("score", [0.6, 1])
def test_ties_are_joined_by_a_straight_line(score):
    """One lesion and one false positive appear at the same score: half a false positive, half the sensitivity."""
    sensitivity = one(np.float32([[score, 0, score]]), draw("1..")).sensitivity[0]
    assert sensitivity.tolist() == [1 / 8, 1 / 4, 1 / 2, 1, 1, 1, 1]


def test_the_curve_starts_at_nothing():
    """One threshold: 2 false positives in 4 photos, 1 lesion of 2."""
    sensitivity = sensitivity_at_rates(torch.tensor([[0, 2], [1, 1]]), photos=4)
    assert sensitivity.tolist() == [1 / 8, 1 / 4, 1 / 2, 1 / 2, 1 / 2, 1 / 2, 1 / 2]


def test_beyond_the_last_point_sensitivity_stays():
    assert one(draw("9.3.8"), draw("1...."), threshold=0.5).sensitivity.tolist() == [[1] * 7]
    assert one(draw("8.......9"), draw("1.1.1....")).sensitivity[0].tolist() == pytest.approx(
        [0, 0, 0, 1 / 3, 1 / 3, 1 / 3, 1 / 3]
    )


def test_the_field_of_view():
    scores, truth, mask = draw("9.9.9"), draw("1...."), draw("..111")
    assert counts(one(scores, truth, mask)) == (0, 2, 1)
    assert counts(one(scores, truth)) == (1, 2, 0)
    # a candidate is what lies inside, with its score there
    assert counts(one(draw("944.."), draw("..1.."), draw(".1111"))) == (0, 0, 1)
    assert counts(one(draw("944.."), draw("..1.."))) == (1, 0, 0)


def test_half_is_exact():
    below = np.nextafter(np.float32(0.5), np.float32(0))
    scores = np.array([[0.5, 0, below, 0, 0.5, 0, below]], dtype=np.float32)
    assert counts(one(scores, draw("1.1...."))) == (1, 1, 1)


def test_perfect_and_empty_predictions():
    truths = [photo(index)[1] for index in range(3)]
    everywhere = np.ones(SIZE, dtype=bool)
    perfect = measure([(truth.astype(np.float32), truth, everywhere) for truth in truths])
    assert perfect.sensitivity.tolist() == [[1] * 7]
    assert (int(perfect.false_positives), int(perfect.false_negatives)) == (0, 0)
    assert measure([(np.zeros(SIZE, dtype=np.float32), t, everywhere) for t in truths]).sensitivity.tolist() == [
        [0] * 7
    ]


def test_a_map_that_is_high_everywhere_detects_nothing():
    """It is one candidate that touches every lesion; only the overlap tells it from a good one."""
    _, truth, _ = photo(0, lesions=3)
    everywhere = np.ones(SIZE, dtype=bool)
    for scores in (np.full(SIZE, 0.3, np.float32), np.random.default_rng(0).uniform(0.2, 1, SIZE).astype(np.float32)):
        assert float(measure([(scores, truth, everywhere)]).score) == 0
        assert float(measure([(scores, truth, everywhere)], overlap=0).score) == 1


def test_a_lesion_in_no_photo_is_nan_and_its_false_positives_count():
    found = one(draw("9.9.3"), draw("....."))
    assert found.sensitivity.isnan().all()
    assert found.score.isnan().all()
    assert counts(found) == (0, 2, 0)


def test_photos_without_the_lesion_count_as_photos():
    """8 false positives in two photos are 4 a photo."""
    nothing = np.zeros((1, 20), dtype=bool)
    alarms = draw("8.8.8.8.8.8.8.8.....")
    lesion = draw("..................7.")
    sensitivity = measure([(alarms, nothing, ~nothing), (lesion, lesion > 0, ~nothing)]).sensitivity[0]
    assert sensitivity.tolist() == [0, 0, 0, 0, 0, 1, 1]


def channels(count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Photos of 3 classes."""
    classes = [tensors([photo(50 * index + number) for number in range(count)]) for index in range(3)]
    scores, truth, masks = zip(*classes, strict=True)
    return torch.cat(scores, 1), torch.cat(truth, 1), masks[0]


def assert_same(found: FreeResponseScores, expected: FreeResponseScores) -> None:
    for one_part, other_part in zip(found, expected, strict=True):
        assert torch.equal(one_part, other_part)


def test_photos_of_all_calls_are_pooled_by_class():
    scores, truth, mask = channels(5)
    metric = FreeResponseMetric()
    metric(scores[:2], truth[:2], mask=mask[:2])
    metric.aggregate()  # asked for too early, which must not freeze it
    metric([MetaTensor(s) for s in scores[2:]], list(truth[2:].to(torch.uint8) * 255), mask=list(mask[2:].float()))
    pooled = metric.aggregate()
    for index in range(3):
        alone = [
            tuple(part.numpy() for part in (s[index], t[index], m[0])) for s, t, m in zip(*channels(5), strict=True)
        ]
        expected = measure(alone)
        assert torch.equal(pooled.sensitivity[index], expected.sensitivity[0])
        assert int(pooled.false_positives[index]) == int(expected.false_positives)

    metric.reset()
    metric(scores[4:], truth[4:])
    without_mask = metric.aggregate()
    metric.reset()
    metric(scores[4:], truth[4:], mask=torch.ones_like(mask[4:]))
    assert_same(metric.aggregate(), without_mask)


def test_photos_of_different_sizes():
    scores, truth, _ = channels(2)
    lists, padded = FreeResponseMetric(), FreeResponseMetric()
    lists([scores[0], scores[1, :, :9]], [truth[0], truth[1, :, :9]])
    scores[1, :, 9:], truth[1, :, 9:] = 0, False
    padded(scores, truth)
    assert_same(lists.aggregate(), padded.aggregate())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_types_of_scores(dtype):
    scores, truth, _ = channels(2)
    scores = (scores * 128).round() / 128  # exact in all types
    plain, typed = FreeResponseMetric(), FreeResponseMetric()
    plain(scores, truth)
    typed(scores.to(dtype), truth)
    assert_same(typed.aggregate(), plain.aggregate())


def test_state_does_not_grow():
    scores, truth, _ = channels(4)
    metric = FreeResponseMetric()
    for _ in range(3):
        metric(scores, truth)
    histograms, photos = metric.get_buffer()
    assert histograms.shape == (1, 3, 2, SCORE_BINS)
    assert photos.tolist() == [12]


def test_wrong_input_is_refused():
    metric = FreeResponseMetric()
    with pytest.raises(ValueError, match="no photo"):
        metric.aggregate()
    scores, truth, mask = channels(1)
    with pytest.raises(ValueError, match=r"do not fit together: \(3, 24, 31\), \(2, 24, 31\), None"):
        metric(scores, truth[:, :2])
    with pytest.raises(ValueError, match="do not fit together"):
        metric(scores, truth, mask=mask[..., :5])
    for wrong in (float("nan"), -0.01, 1.01):
        with pytest.raises(ValueError, match="NaN or values outside"):
            metric(torch.full_like(scores, wrong), truth)
    for threshold in (0, 1.1, float("nan")):
        with pytest.raises(ValueError, match="threshold"):
            FreeResponseMetric(threshold=threshold)
    for overlap in (-0.1, 1.1):
        with pytest.raises(ValueError, match="share"):
            FreeResponseMetric(overlap=overlap)


@pytest.mark.skipif("TINYLESIONS_REAL_DATA" not in os.environ, reason="TINYLESIONS_REAL_DATA is not set")
def test_real_truth_of_full_size():
    """The truth as prediction, half as probable on the left of the photo, and one false positive at 0.7."""
    path = next(Path(os.environ["TINYLESIONS_REAL_DATA"]).rglob("IDRiD_03_EX.tif"))
    truth = read_mask(path).astype(bool)
    number = label(truth, connectivity=2)
    left = np.unique(number[:, : truth.shape[1] // 2])
    scores = np.where(np.isin(number, left), 0.4, 0.9).astype(np.float32) * truth
    scores[:20, :20] = 0.7
    found = one(scores, truth)
    low = len(left) - 1  # one of the numbers is the background's
    assert number.max() > 300
    assert counts(found) == (number.max() - low, 1, low)
    assert found.sensitivity[0, [0, 2, 3, 6]].tolist() == pytest.approx(
        [1 - low / number.max(), 1 - low / number.max(), 1, 1]
    )


def _one_of_two(rank: int, store: str, results: str) -> None:
    torch.distributed.init_process_group(
        "gloo", init_method=Path(store).as_uri(), rank=rank, world_size=2, timeout=timedelta(seconds=60)
    )
    scores, truth, mask = channels(5)
    own = slice(0, 2) if rank == 0 else slice(2, 5)
    metric = FreeResponseMetric()
    metric(scores[own], truth[own], mask=mask[own])
    torch.save(tuple(metric.aggregate()), Path(results) / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="torch was built without gloo")
def test_two_processes_give_what_one_gives(tmp_path):
    """Each holds other photos, and not as many."""
    torch.multiprocessing.spawn(_one_of_two, (os.fspath(tmp_path / "store"), os.fspath(tmp_path)), nprocs=2)
    scores, truth, mask = channels(5)
    metric = FreeResponseMetric()
    metric(scores, truth, mask=mask)
    for rank in range(2):
        assert_same(FreeResponseScores(*torch.load(tmp_path / f"{rank}.pt")), metric.aggregate())
