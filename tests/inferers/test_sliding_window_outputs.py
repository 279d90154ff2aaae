"""Outputs of any structure, resolution and number of channels; what surrounds the network's call."""

from __future__ import annotations

import pytest
import torch
from monai.data import DataLoader, Dataset, MetaTensor, decollate_batch
from monai.engines import PrepareBatchExtraInput, SupervisedEvaluator
from monai.inferers import SlidingWindowInferer
from monai.transforms import Compose, CropForegroundd, Flipd, Invertd, ScaleIntensityd
from torch import nn
from torch.nn import functional

from tinylesions.inferers import ForegroundSlidingWindowInferer

from .photos import lit, monai_map, photo, small_network

BODY, HEAD = small_network(2), small_network(7)


def tensor(windows):
    return HEAD(windows)


def one_in_a_tuple(windows):
    return (BODY(windows),)


def pair(windows):
    return BODY(windows), HEAD(windows)


def listed(windows):
    return list(pair(windows))


def named(windows):
    return {"segmentation": BODY(windows), "edges": HEAD(windows)}


def one_named(windows):
    return {"segmentation": BODY(windows)}


def keyed_by_number(windows):
    return {3: BODY(windows), 0: HEAD(windows)}


def half(windows):
    return functional.avg_pool2d(BODY(windows), 2)


def double(windows):
    return functional.interpolate(BODY(windows), scale_factor=2.0, mode="bilinear")


def wide(windows):
    return functional.interpolate(BODY(windows), scale_factor=(0.25, 2.0), mode="nearest")


def pyramid(windows):
    return BODY(windows), half(windows)


def pyramid_by_name(windows):
    return {"a": HEAD(windows), "b": double(windows)}


def flat(output) -> tuple[object, list[torch.Tensor]]:
    """What an output is, and its tensors."""
    if isinstance(output, dict):
        return set(output), [output[key] for key in sorted(output)]
    return (type(output), len(output)) if isinstance(output, tuple) else torch.Tensor, (
        list(output) if isinstance(output, tuple) else [output]
    )


STRUCTURES = [tensor, one_in_a_tuple, pair, listed, named, one_named, keyed_by_number]
RESOLUTIONS = [half, double, wide, pyramid, pyramid_by_name]


def assert_monais(photos: torch.Tensor, network, roi_size: int, **options) -> None:
    inferer = ForegroundSlidingWindowInferer(roi_size, 4, precision="float32", **options)
    structure, found = flat(inferer(photos, network))
    expected_structure, expected = flat(monai_map(photos, network, roi_size, **options))
    assert structure == expected_structure
    for map_, expected_map in zip(found, expected, strict=True):
        assert map_.shape == expected_map.shape
        assert map_.isfinite().all()
        # an output's pixel lies inside where all photo pixels it comes from do
        outside = functional.interpolate((~lit(photos)).float()[:, None], map_.shape[2:], mode="area") > 0
        inside = ~outside.expand_as(map_)
        assert inside.any()
        torch.testing.assert_close(map_[inside], expected_map[inside], rtol=0, atol=1e-5)


@pytest.mark.parametrize("network", STRUCTURES)
def test_structures_are_monais(network):
    assert_monais(torch.cat([photo(), photo(row=0.3)]), network, 16, overlap=0.5, mode="gaussian")


@pytest.mark.parametrize("mode", ["constant", "gaussian"])
@pytest.mark.parametrize("overlap", [0, 0.25, 0.5])
@pytest.mark.parametrize("network", RESOLUTIONS)
def test_resolutions_are_monais(network, overlap, mode):
    assert_monais(photo(64, 96), network, 32, overlap=overlap, mode=mode)


@pytest.mark.parametrize("size", [(24, 96), (64, 24), (24, 16)], ids=str)
@pytest.mark.parametrize("network", RESOLUTIONS)
def test_resolutions_of_small_photos_are_monais(network, size):
    assert_monais(photo(*size), network, 32, overlap=0.5, mode="gaussian")


@pytest.mark.parametrize("network", [double])
def test_finer_outputs_of_photos_of_any_size(network):
    assert_monais(photo(61, 83), network, 17, overlap=0.3, mode="gaussian")


@pytest.mark.parametrize("overlap", [0.25, 0.3, 0.5])
def test_coarser_outputs_that_fall_between_pixels_are_rounded_as_monai_rounds(overlap):
    assert_monais(photo(61, 95), half, 20, overlap=overlap, mode="gaussian")


@pytest.mark.parametrize("network", STRUCTURES + RESOLUTIONS)
def test_without_foreground_the_structure_stays_and_all_is_background(network):
    photos = torch.zeros(2, 3, 64, 96)
    inferer = ForegroundSlidingWindowInferer(32, background=-3.5)
    structure, found = flat(inferer(photos, network))
    expected_structure, expected = flat(monai_map(photos, network, 32))
    assert structure == expected_structure
    assert [map_.shape for map_ in found] == [map_.shape for map_ in expected]
    assert all((map_ == -3.5).all() for map_ in found)


def test_background_of_each_channel_is_repeated_for_heads():
    photos = photo(row=0, column=0, radius=0.3)
    for channels, background in ((2, [10.0, -10.0]), (4, [10.0, -10.0]), (3, [1.0, 2.0, 3.0]), (3, 5.0)):
        network = small_network(channels)
        corner = ForegroundSlidingWindowInferer(16, background=background)(photos, network)[0, :, -1, -1]
        values = background if isinstance(background, list) else [background]
        assert corner.tolist() == (values * channels)[:channels]


def test_background_that_does_not_fit_is_refused_before_the_inference():
    calls = []

    def network(windows):
        calls.append(len(windows))
        return BODY(windows)

    with pytest.raises(ValueError, match="3 background values do not fit an output of 2 channels"):
        ForegroundSlidingWindowInferer(16, 1, background=[0, 1, 2])(photo(), network)
    assert len(calls) == 1, "a whole photo was run before the mistake showed"


def test_arguments_are_passed_on():
    seen = []

    def network(windows, factor, *, shift):
        seen.append((factor, shift))
        return BODY(windows) * factor + shift

    inferer = ForegroundSlidingWindowInferer(16, precision="float32")
    found = inferer(photo(), network, 2.0, shift=1.0)
    assert set(seen) == {(2.0, 1.0)}
    inside = lit(photo())[:, None].expand_as(found)
    expected = monai_map(photo(), BODY, 16) * 2 + 1
    torch.testing.assert_close(found[inside], expected[inside], rtol=0, atol=1e-5)


@pytest.mark.parametrize("network", [tensor, pair, named, double])
def test_meta_data_are_kept(network):
    photos = MetaTensor(photo(64, 96), affine=torch.diag(torch.tensor([2.0, 3, 1, 1])), meta={"name": "photo 7"})
    _, found = flat(ForegroundSlidingWindowInferer(32, precision="float32")(photos, network))
    for map_ in found:
        assert isinstance(map_, MetaTensor)
        assert map_.meta["name"] == "photo 7"
        assert torch.equal(map_.affine, photos.affine)
        assert map_.applied_operations == photos.applied_operations
    plain = ForegroundSlidingWindowInferer(32)(photo(64, 96), BODY)
    assert not isinstance(plain, MetaTensor)


def test_invertd_takes_the_map_back_to_the_photo():
    raw = photo(61, 83)[0]
    before = Compose([CropForegroundd("image", "image"), Flipd("image", spatial_axis=1)])
    item = before({"image": MetaTensor(raw)})
    assert item["image"].shape != raw.shape
    batch = {"image": next(iter(DataLoader(Dataset([item]))))["image"]}
    batch["pred"] = ForegroundSlidingWindowInferer(16, precision="float32")(batch["image"], lambda windows: windows)
    (item,) = [Invertd("pred", before, "image", nearest_interp=False)(item) for item in decollate_batch(batch)]
    torch.testing.assert_close(item["pred"].as_tensor(), raw)


def test_supervised_evaluator_gives_the_foreground_to_the_inferer():
    # intensities as a network wants them, where nothing is 0 any more
    items = [{"image": photo(column=column)[0], "foreground": lit(photo(column=column))} for column in (0.3, 0.7)]
    items = [ScaleIntensityd("image", minv=-1, maxv=2)(item) for item in items]
    maps = []
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(Dataset(items), batch_size=2),
        network=small_network(),
        inferer=ForegroundSlidingWindowInferer(16, overlap=0.5, background=-77, precision="float32"),
        prepare_batch=PrepareBatchExtraInput(extra_keys={"foreground": "foreground"}),
        decollate=False,
        val_handlers=[],
    )
    evaluator.add_event_handler("ITERATION_COMPLETED", lambda engine: maps.append(engine.state.output["pred"]))
    evaluator.run()
    (found,) = maps
    photos = torch.stack([item["image"] for item in items])
    with torch.no_grad():
        expected = SlidingWindowInferer(16, overlap=0.5)(photos, BODY)
    inside = torch.stack([item["foreground"] for item in items]).expand_as(found)
    torch.testing.assert_close(found[inside], expected[inside].as_subclass(torch.Tensor), rtol=0, atol=1e-5)
    assert (found == -77).any()


def test_the_output_is_float32_for_photos_of_other_types():
    network = nn.Conv2d(3, 2, 3, padding=1)
    for dtype in (torch.float64, torch.float16, torch.uint8):
        photos = (photo() * 100).to(dtype)
        found = ForegroundSlidingWindowInferer(16, precision="float32")(photos, lambda x: network(x.float()))
        assert found.dtype == torch.float32
        expected = monai_map(photos.float(), network, 16)
        inside = lit(photos)[:, None].expand_as(found)
        torch.testing.assert_close(found[inside], expected[inside], rtol=1e-5, atol=1e-4)


def test_no_photos_are_refused_in_plain_words():
    with pytest.raises(ValueError, match="photo"):
        ForegroundSlidingWindowInferer(16)(torch.zeros(0, 3, 32, 32), BODY)
