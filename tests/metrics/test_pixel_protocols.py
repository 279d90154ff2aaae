"""Every protocol against literal references on the photos' own pixels, and the intervals against real resampling."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed
from monai.data import MetaTensor
from sklearn.metrics import average_precision_score

from tinylesions.metrics import PROTOCOLS, Estimate, PixelProtocolsMetric
from tinylesions.metrics.bootstrap import resample

from .cases import idrid33_of, lesion_windows_of, m2mrf11_of

Photo = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def draw_photos(sizes: list[tuple[int, int]], seed: int = 0) -> list[Photo]:
    """Scores and truth (3, H, W) and a round field of view (1, H, W) of each photo; the third lesion is rare."""
    generator = torch.Generator().manual_seed(seed)
    photos = []
    for index, (height, width) in enumerate(sizes):
        truth = torch.zeros(3, height, width, dtype=torch.uint8)
        for lesion in range(3 if index % 3 == 0 else 2):
            for y, x in torch.rand(3, 2, generator=generator) * torch.tensor([height - 9, width - 9]):
                truth[lesion, int(y) : int(y) + 9, int(x) : int(x) + 5 + 2 * lesion] = 1
        noise = torch.randn(3, height, width, generator=generator)
        scores = torch.sigmoid(2 * noise - 4 + (3 + index % 2) * truth)
        scores[:, :: 7 + index] = (scores[:, :: 7 + index] * 20).round() / 20  # on thresholds, and ties
        rows, columns = np.ogrid[:height, :width]
        mask = torch.from_numpy(np.hypot(rows / height - 0.5, columns / width - 0.5) < 0.48)
        photos.append((scores, truth, mask[None].to(torch.uint8)))
    return photos


SIZES = [(150, 200), (140, 210), (190, 170), (160, 160), (90, 250)]


def measure(photos: list[Photo], masked: bool = True, **options) -> dict[str, Estimate]:
    metric = PixelProtocolsMetric(**options)
    for scores, truth, mask in photos:
        metric([scores], [truth], **({"mask": [mask]} if masked else {}))
    return metric.aggregate()


def pixels_of(photo: Photo, lesion: int, masked: bool, windows: bool) -> tuple[np.ndarray, np.ndarray]:
    """Truth and scores that count: outside the field of view only lesions do, with score 0."""
    scores, truth, mask = (part.numpy() for part in photo)
    inside = mask[0] > 0 if masked else np.ones(mask[0].shape, bool)
    counted = inside | (truth[lesion] > 0)
    if windows:
        counted &= lesion_windows_of(truth, inside)
    return truth[lesion][counted] > 0, np.where(inside, scores[lesion], np.float32(0))[counted]


def literal(photos: list[Photo], lesion: int, protocol: str, masked: bool = True) -> float:
    parts = [pixels_of(photo, lesion, masked, protocol == "lesion_patches") for photo in photos]
    if protocol == "per_image":
        return np.mean([average_precision_score(*part) for part in parts if part[0].any()])
    truth, scores = (np.concatenate(part) for part in zip(*parts, strict=True))
    if protocol == "idrid33":
        return idrid33_of(scores, truth)
    return m2mrf11_of(scores, truth) if protocol == "m2mrf11" else average_precision_score(truth, scores)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_protocols_against_literal_references(protocol, masked):
    photos = draw_photos(SIZES)
    value = measure(photos, masked, replicates=2)[protocol].value
    expected = [literal(photos, lesion, protocol, masked) for lesion in range(3)]
    tolerance = 1e-10 if protocol in ("idrid33", "m2mrf11") else 1e-4
    np.testing.assert_allclose(value, [*expected, np.mean(expected)], atol=tolerance)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_intervals_against_photos_really_resampled(protocol):
    photos = draw_photos(SIZES)
    estimate = measure(photos, replicates=20, seed=5)[protocol]
    values = []
    for counts in resample(len(photos), 20, seed=5).int():
        drawn = [photo for photo, count in zip(in_order(photos), counts, strict=True) for _ in range(count)]
        values.append([literal(drawn, lesion, protocol) if has(drawn, lesion) else np.nan for lesion in range(3)])
    values = np.column_stack([values, np.nanmean(values, axis=1)])
    # what is merged to 4096 bins is within a thousandth or two
    np.testing.assert_allclose(estimate.low, np.nanpercentile(values, 2.5, axis=0), atol=2e-3)
    np.testing.assert_allclose(estimate.high, np.nanpercentile(values, 97.5, axis=0), atol=2e-3)


def has(photos: list[Photo], lesion: int) -> bool:
    return any(bool(truth[lesion].any()) for _, truth, _ in photos)


def in_order(photos: list[Photo]) -> list[Photo]:
    """The order that the draws are made in: by each photo's own score, the last lesion's first."""

    def own_scores(photo: Photo) -> list[float]:
        return [literal([photo], lesion, "exact") if has([photo], lesion) else -1 for lesion in (2, 1, 0)]

    return sorted(photos, key=own_scores)


def equal(first: dict[str, Estimate], second: dict[str, Estimate]) -> bool:
    return all(
        torch.equal(a.nan_to_num(-1), b.nan_to_num(-1))
        for name in PROTOCOLS
        for a, b in zip(first[name], second[name], strict=True)
    )


def test_intervals_do_not_depend_on_the_order_nor_on_the_batches():
    photos = draw_photos([(70, 80)] * 6)
    for _, truth, _ in photos[:2]:
        truth.zero_()  # photos without lesions differ in their false alarms
    whole = measure(photos)
    assert equal(measure(photos[::-1]), whole)
    metric = PixelProtocolsMetric()
    for batch in (photos[:4], photos[4:]):
        scores, truth, mask = (torch.stack(part) for part in zip(*batch, strict=True))
        metric(scores, truth, mask=mask)
        metric.aggregate()  # asked for too early, which must not freeze it
    assert equal(metric.aggregate(), whole)
    assert not equal(measure(photos, seed=1), whole)
    metric.reset()
    metric([photos[0][0]], [photos[0][1]], mask=[photos[0][2]])
    assert equal(metric.aggregate(), measure(photos[:1]))


def test_value_lies_in_its_interval():
    for value, low, high in measure(draw_photos([(80, 90)] * 12)).values():
        assert ((low < value) & (value < high)).all()


def test_photos_alike_have_an_interval_of_no_width():
    for value, low, high in measure(draw_photos([(80, 90)]) * 5, replicates=20).values():
        torch.testing.assert_close(low, value, rtol=0, atol=1e-12)
        torch.testing.assert_close(high, value, rtol=0, atol=1e-12)


def test_single_photo_has_no_interval():
    for value, low, high in measure(draw_photos([(80, 90)])).values():
        assert not value.isnan().any()
        assert low.isnan().all()
        assert high.isnan().all()


@pytest.mark.parametrize("absent", [(1,), (0, 1, 2)])
def test_lesion_in_no_photo_has_no_value(absent):
    photos = draw_photos([(80, 90)] * 4)
    for _, truth, _ in photos:
        truth[list(absent)] = 0
    for parts in measure(photos, replicates=50).values():
        for part in parts:
            assert [bool(number.isnan()) for number in part[:3]] == [lesion in absent for lesion in range(3)]
        present = [lesion for lesion in range(3) if lesion not in absent]
        assert bool(parts.value[3].isnan()) == (not present)
        if present:
            assert float(parts.value[3]) == pytest.approx(float(parts.value[present].mean()))


def test_lesion_outside_the_field_of_view_is_missed():
    truth = torch.zeros(1, 64, 64, dtype=torch.uint8)
    truth[0, :2, :10] = 1
    mask = torch.ones_like(truth)
    mask[:, 0] = 0
    mask[:, :, 60:] = 0
    found = measure([(truth.float(), truth, mask)])
    # half of the lesion is found; the other half comes with everything inside, but never above a threshold
    everything = 0.5 + 0.5 * 20 / (63 * 60 + 10)
    assert float(found["exact"].value[0]) == pytest.approx(everything)
    assert float(found["m2mrf11"].value[0]) == 0.5
    # and it lies outside of the box that the windows fill
    assert found["lesion_patches"].value[0] == 1


def test_meta_tensors_and_wrong_channels():
    photos = draw_photos([(70, 80), (60, 80)])
    wrapped = [tuple(MetaTensor(part) for part in photo) for photo in photos]
    assert equal(measure(wrapped), measure(photos))
    scores, truth, _ = photos[0]
    with pytest.raises(ValueError, match="3 predicted channels, but 2 of the truth"):
        PixelProtocolsMetric()([scores], [truth[:2]])
    with pytest.raises(ValueError, match="no photo"):
        PixelProtocolsMetric().aggregate()


def test_state_of_a_photo_is_64_kib_a_lesion():
    metric = PixelProtocolsMetric()
    for scores, truth, mask in draw_photos([(70, 80)] * 3):
        metric([scores], [truth], mask=[mask])
    pooled, of_photos = metric.get_buffer()[:2], metric.get_buffer()[2:]
    assert {len(buffer) for buffer in pooled} == {1}
    size = sum(buffer[0, 0].nbytes for buffer in of_photos)
    assert 64 * 1024 <= size < 65 * 1024


def _one_of_two(rank: int, store: str, results: str) -> None:
    torch.distributed.init_process_group(
        "gloo", init_method=Path(store).as_uri(), rank=rank, world_size=2, timeout=timedelta(seconds=60)
    )
    torch.save(measure(draw_photos([(60, 70)] * 5)[rank::2]), Path(results) / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="torch was built without gloo")
def test_two_processes_give_what_one_gives(tmp_path):
    """Each takes every other photo, and not as many."""
    torch.multiprocessing.spawn(_one_of_two, (os.fspath(tmp_path / "store"), os.fspath(tmp_path)), nprocs=2)
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=False)
        assert equal(found, measure(draw_photos([(60, 70)] * 5)))
