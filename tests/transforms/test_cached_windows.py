"""The fast way gives the windows of the plain way, flipped and turned."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch
from monai.data import Dataset, MetaTensor
from monai.engines import SupervisedTrainer
from monai.transforms import Compose
from monai.utils import set_determinism
from torch import nn

from tinylesions.datasets import LESIONS, idrid_segmentation
from tinylesions.datasets.errors import InputError
from tinylesions.handlers import EpochSeed, TrainingCheckpoint
from tinylesions.transforms import (
    CachedWindowLoader,
    FieldOfViewCropd,
    FieldOfViewMaskd,
    LesionMasksToLabelMapd,
    LoadLesionMasksd,
    LoadPhotod,
    SlidingWindowPatchesd,
    WindowSampling,
)

SIZES = [(97, 130), (64, 64), (40, 211), (33, 20)]


def random_photo(height: int, width: int, seed: int, share: float = 0.0005) -> dict[str, torch.Tensor]:
    """Colours of which no two windows have the same, and lesions here and there in retina and black background."""
    generator = torch.Generator().manual_seed(seed)
    classes = torch.randint(1, 5, (1, height, width), generator=generator)
    ground = 5 * (torch.arange(width) < width // 3).long().expand(1, height, width)
    label_map = torch.where(torch.rand(1, height, width, generator=generator) < share, classes, ground)
    return {
        "image": MetaTensor(torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8)),
        "label": MetaTensor(label_map.to(torch.uint8)),
    }


@pytest.fixture(scope="module")
def random_photos() -> list[dict[str, torch.Tensor]]:
    return [random_photo(*size, seed) for seed, size in enumerate(SIZES)]


@pytest.fixture(scope="module")
def phantoms(idrid_phantoms) -> list[dict[str, torch.Tensor]]:
    transforms = [
        LoadPhotod("image"),
        LoadLesionMasksd("label"),
        FieldOfViewMaskd("image"),
        FieldOfViewCropd(["image", "label", "field_of_view"]),
        LesionMasksToLabelMapd("label"),
    ]
    return list(Dataset(idrid_segmentation(idrid_phantoms), Compose(transforms)))


def plain_windows(photos: list[dict[str, torch.Tensor]], **options) -> list[dict[str, torch.Tensor]]:
    cut = SlidingWindowPatchesd(["image", "label"], **options)
    return [window for photo in photos for window in cut(photo)]


def unturned(image: torch.Tensor, label: torch.Tensor) -> bytes:
    """Grey levels and classes of a window, the same whichever of the symmetries it went through."""
    both = torch.cat([image.mul(255).round().to(torch.uint8), label])
    sides = [both, both.flip(1)]
    if both.shape[1] == both.shape[2]:
        ways = [side.rot90(turns, (1, 2)) for side in sides for turns in range(4)]
    else:
        ways = [side.rot90(turns, (1, 2)) for side in sides for turns in (0, 2)]
    return min(way.contiguous().numpy().tobytes() for way in ways)


def epoch_of(loader: CachedWindowLoader) -> Counter[bytes]:
    return Counter(unturned(*pair) for batch in loader for pair in zip(batch["image"], batch["label"], strict=True))


def assert_same_windows(photos: list[dict[str, torch.Tensor]], **options) -> None:
    plain = plain_windows(photos, **options)
    loader = CachedWindowLoader(photos, **options)
    numbers = torch.arange(len(loader.cache.held))
    cut = loader.cache.cut(numbers, torch.zeros_like(numbers))
    assert torch.equal(cut["image"], torch.stack([window["image"] for window in plain]) / 255)
    assert torch.equal(cut["label"], torch.stack([window["label"] for window in plain]))
    expected = Counter(unturned(window["image"] / 255, window["label"]) for window in plain)
    assert epoch_of(loader) == expected


@pytest.mark.parametrize("overlap", [0, 0.25, 0.5, 0.75])
@pytest.mark.parametrize("roi_size", [32, (33, 20), 64])
def test_windows_are_those_of_the_plain_way(random_photos, roi_size, overlap):
    assert_same_windows(random_photos, roi_size=roi_size, overlap=overlap)
    assert_same_windows(random_photos, roi_size=roi_size, overlap=overlap, lesion_free_share=1)


@pytest.mark.filterwarnings("ignore:.*photos for training/validation/test")
@pytest.mark.parametrize(("roi_size", "overlap"), [(64, 0), (64, 0.5), (32, 0.75), (48, 0.25)])
def test_windows_of_phantoms(phantoms, roi_size, overlap):
    assert_same_windows(phantoms, roi_size=roi_size, overlap=overlap)


def test_batches_are_what_a_network_takes(random_photos):
    loader = CachedWindowLoader(random_photos, 16, batch_size=7)
    batches = list(loader)
    count = len(plain_windows(random_photos, roi_size=16))
    assert len(loader) == len(batches) == -(-count // 7)
    assert [len(batch["image"]) for batch in batches] == [7] * (count // 7) + [count % 7] * (count % 7 > 0)
    for batch in batches:
        assert batch.keys() == {"image", "label"}
        assert batch["image"].shape[1:] == (3, 16, 16)
        assert batch["label"].shape[1:] == (1, 16, 16)
        assert (batch["image"].dtype, batch["label"].dtype) == (torch.float32, torch.uint8)
        assert batch["image"].is_contiguous(memory_format=torch.channels_last)
        assert 0 <= batch["image"].min() <= batch["image"].max() <= 1


@pytest.mark.parametrize(("roi_size", "count"), [((16, 16), 8), ((16, 12), 4)])
def test_all_symmetries_are_drawn_alike(roi_size, count):
    photo = random_photo(*roi_size, seed=0, share=0.1)
    loader = CachedWindowLoader([photo], roi_size, sampling=WindowSampling(windows_per_epoch=800))
    torch.manual_seed(0)
    often = Counter(image.numpy().tobytes() for batch in loader for image in batch["image"].contiguous())
    assert len(often) == count
    expected = 800 / count
    assert sum((number - expected) ** 2 / expected for number in often.values()) < 24.3  # chi squared, p = 0.001


def test_share_of_lesion_free_windows(random_photos):
    lesions = len(plain_windows(random_photos, roi_size=8))
    free = len(plain_windows(random_photos, roi_size=8, lesion_free_share=1)) - lesions
    torch.manual_seed(0)
    held = CachedWindowLoader(random_photos, 8, lesion_free_share=0.3).cache.held
    assert held.any(1).sum() == lesions
    assert (~held.any(1)).sum() == pytest.approx(0.3 * free, abs=4 * (0.21 * free) ** 0.5)


def test_lesions_of_the_windows(random_photos):
    options = {"roi_size": 32, "overlap": 0.5, "lesion_free_share": 1}
    held = CachedWindowLoader(random_photos, **options).cache.held
    expected = [
        [bool((w["label"] == index).any()) for index in range(1, 5)] for w in plain_windows(random_photos, **options)
    ]
    assert held.tolist() == expected


def test_rare_lesions_are_seen_as_often_as_common_ones():
    photos = [random_photo(128, 128, seed) for seed in range(3)]
    for photo in photos:
        photo["label"][photo["label"] > 2] = 0
    photos[0]["label"][0, 70, 70] = LESIONS.index("soft_exudate") + 1
    weights = {"soft_exudate": 1, "microaneurysm": 1}
    sampling = WindowSampling(400, positive_share=0.8, lesion_weights=weights)
    loader = CachedWindowLoader(photos, 16, lesion_free_share=1, sampling=sampling)
    labels = torch.cat([batch["label"] for batch in loader]).flatten(1)
    assert len(labels) == 400
    assert ((labels > 0) & (labels < 5)).any(1).sum() == 320
    assert (labels == 4).any(1).sum() >= 160
    assert (labels == 1).any(1).sum() >= 160
    with pytest.raises(InputError, match="with a hard_exudate, and no photo has one"):
        CachedWindowLoader(photos, 16, sampling=WindowSampling(lesion_weights={"hard_exudate": 1}))


def test_epochs_differ_and_a_seed_repeats_them(random_photos):
    loader = CachedWindowLoader(random_photos, 16, batch_size=10_000)

    def epoch(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        (batch,) = loader
        return batch["image"]

    first, second = epoch(1), epoch(2)
    assert not torch.equal(first, second)
    assert torch.equal(epoch(1), first)


def test_what_a_network_draws_does_not_change_an_epoch(random_photos):
    loader = CachedWindowLoader(random_photos, 16, batch_size=5)
    torch.manual_seed(0)
    undisturbed = list(loader)
    torch.manual_seed(0)
    for batch, expected in zip(loader, undisturbed, strict=True):
        torch.rand(10)  # stands for dropout
        assert torch.equal(batch["image"], expected["image"])


class KilledError(Exception):
    """Stands for whatever ends a process."""


def train(folder: Path, photos: list, max_epochs: int, kill_in: int | None = None) -> tuple[dict, list[float]]:
    """Weights and losses of a small training; `kill_in` is the epoch in which it ends."""
    set_determinism(3)
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Dropout(0.2), nn.Conv2d(4, 6, 3, padding=1))
    loader = CachedWindowLoader(photos, 16, lesion_free_share=0.2, batch_size=8)
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    losses = []

    def loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        if kill_in is not None and len(losses) == (kill_in - 1) * len(loader) + 1:
            raise KilledError
        value = nn.functional.cross_entropy(logits, labels[:, 0].long())
        losses.append(value.item())
        return value

    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=max_epochs,
        train_data_loader=loader,
        network=network,
        optimizer=optimizer,
        loss_function=loss,
        train_handlers=[
            EpochSeed(3, Compose([])),
            TrainingCheckpoint(folder / "checkpoint.pt", {"network": network, "optimizer": optimizer}),
        ],
    )
    trainer.run()
    assert trainer.state.epoch_length == len(loader) > 1
    return network.state_dict(), losses


def test_killed_and_resumed_equals_uninterrupted(tmp_path, random_photos):
    whole, losses = train(tmp_path / "whole", random_photos, 3)
    with pytest.raises(KilledError):
        train(tmp_path / "cut", random_photos, 3, kill_in=3)
    resumed, rest = train(tmp_path / "cut", random_photos, 3)
    assert rest == losses[-len(losses) // 3 :]
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_photos_without_windows_take_no_memory(random_photos):
    healthy = {key: torch.zeros_like(value) for key, value in random_photos[0].items()}
    pixels = CachedWindowLoader([healthy, random_photos[1], healthy], 32).cache.pixels
    assert len(pixels) == random_photos[1]["label"].numel()
    with pytest.raises(InputError, match="No window is left to train on"):
        CachedWindowLoader([healthy])


def test_photos_that_take_too_much_memory_are_refused(random_photos):
    size = CachedWindowLoader(random_photos, 16).cache.pixels.nbytes / 1e9
    assert len(CachedWindowLoader(random_photos, 16, cache_gigabytes=size)) > 0
    with pytest.raises(InputError, match=r"more than .* GB: raise cache_gigabytes .* set cache_windows to false"):
        CachedWindowLoader(random_photos, 16, cache_gigabytes=size * 0.99)


@pytest.mark.parametrize("wrong", [{"overlap": 1}, {"overlap": -0.1}, {"lesion_free_share": 1.1}, {"batch_size": 0}])
def test_arguments_out_of_range(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        CachedWindowLoader([], **wrong)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_windows_cut_on_a_gpu(random_photos):
    batches = {}
    for device in ("cpu", "cuda"):
        torch.manual_seed(0)
        batches[device] = list(CachedWindowLoader(random_photos, 16, overlap=0.5, batch_size=32, device=device))
    for expected, found in zip(batches["cpu"], batches["cuda"], strict=True):
        assert found["image"].device.type == "cuda"
        torch.testing.assert_close(found["image"].cpu(), expected["image"], rtol=0, atol=1e-7)
        assert torch.equal(found["label"].cpu(), expected["label"])
