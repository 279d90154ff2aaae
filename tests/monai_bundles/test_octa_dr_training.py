"""What a training of the OCTA bundle reads, how it augments it, what it starts from and what it leaves."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from ignite.engine import Events
from monai.bundle import ConfigParser
from PIL import Image
from scipy.ndimage import center_of_mass

from tinylesions.apps.workflows import run_workflow
from tinylesions.datasets import save_datalist
from tinylesions.networks import SAMAdapter

from .configs import components, merge, read_json
from .octa import (
    BUNDLE,
    CODES,
    SIZE,
    SMALL,
    TEST_IMAGES,
    TRAINING_IMAGES,
    evaluate,
    infer,
    network_input,
    official_masks,
    sentence,
    training,
)
from .pixels import read_maps, shrink

pytestmark = pytest.mark.filterwarnings("ignore:.*training images, ")

TINY: dict[str, Any] = {"widths": [2, 2, 2, 2, 2], "spatial_size": [32, 32], "max_epochs": 1}
ARCHITECTURES = ("unet", "unet_plus_plus", "unet_plus_plus_attention", "sam_adapter", "deeplabv3_plus")


def train_parser(data: Path, **overrides: Any) -> ConfigParser:
    parser = merge(BUNDLE.config_files("train"))
    parser.update({**SMALL, "dataset_dir": str(data), "num_workers": 0, "spatial_size": list(SIZE), **overrides})
    return parser


def parsed(data: Path, id: str, **overrides: Any) -> Any:
    return train_parser(data, **overrides).get_parsed_content(id)


class TestImages:
    def test_each_lesion_is_trained_on_the_images_that_hold_it(self, drac_phantoms):
        seen, kept = {}, {}
        for code in CODES:
            parser = train_parser(drac_phantoms, lesion=code)
            loaders = (parser.get_parsed_content(f"{part}#dataloader") for part in ("train", "validate"))
            seen[code], kept[code] = ({id_ for batch in loader for id_ in batch["id"]} for loader in loaders)
        validation = set.union(*kept.values())
        tested = {path.stem for path in (drac_phantoms / TEST_IMAGES).iterdir()}
        official = {path.stem for path in (drac_phantoms / TRAINING_IMAGES).iterdir()}
        assert validation == {"2", "29"}
        for code, lesion in CODES.items():
            holders = {image for image in official if lesion in official_masks(drac_phantoms, image)}
            assert seen[code] == holders - validation, "one split for the three"
            assert kept[code] == holders & validation
            assert not seen[code] & (tested | validation)
            assert 0 < len(seen[code]) < len(official)

    @pytest.mark.parametrize("validation", [True, False])
    def test_preprocessing(self, drac_phantoms, validation):
        """Of a training without its augmentation, and of a validation; an inference is compared beside scores."""
        (code, lesion), part = ("NPA", CODES["NPA"]), "validate" if validation else "train"
        overrides = {} if validation else {"train#augmentation#transforms": []}
        items = list(parsed(drac_phantoms, f"{part}#dataset", lesion=code, **overrides))
        assert len(items) == (2 if validation else 5)
        for item in items:
            expected = network_input(drac_phantoms / TRAINING_IMAGES / f"{item['id']}.png", SIZE)
            np.testing.assert_allclose(item["image"][0].numpy(), expected, rtol=0, atol=1e-5)
            truth = shrink(official_masks(drac_phantoms, item["id"])[lesion], SIZE, np.max)
            np.testing.assert_array_equal(item["label"].numpy(), truth[None])

    def test_validation_has_no_augmentation(self, drac_phantoms):
        loader = parsed(drac_phantoms, "validate#dataloader", lesion="NPA")
        first, second = ([batch["image"] for batch in loader] for _ in range(2))
        assert len(first) == 2
        for image, again in zip(first, second, strict=True):
            assert torch.equal(image, again)


def augmentation() -> list[dict[str, Any]]:
    return read_json(BUNDLE.root / "configs" / "train.json")["train"]["augmentation"]["transforms"]


def save_as_its_own_mask(mask: np.ndarray, folder: Path) -> Path:
    """A datalist with one image, which is its own mask."""
    path = str(folder / "1.png")
    Image.fromarray((mask * 255).astype(np.uint8)).save(path)
    item = {"id": "1", "image": path, "label": {CODES["IRMA"]: path}, "split": "training"}
    save_datalist([item], folder / "datalist.json")
    return folder / "datalist.json"


@pytest.fixture
def mask_as_image(tmp_path) -> Path:
    rows, columns = np.mgrid[:96, :96]
    return save_as_its_own_mask((np.hypot(rows - 30, columns - 60) < 22) | (2 * rows + columns < 70), tmp_path)


def augmented(datalist: Path, count: int, *seeds: int, **overrides: Any) -> list[list[tuple[np.ndarray, np.ndarray]]]:
    """For each seed, image and mask (H, W) of the datalist's one image, drawn `count` times."""
    parser = train_parser(datalist, layout="json", spatial_size=[96, 64], **overrides)
    dataset, drawn = parser.get_parsed_content("train#dataset"), []
    for seed in seeds:
        parser.get_parsed_content("train#preprocessing").set_random_state(seed)
        items = [dataset[0] for _ in range(count)]
        drawn.append([tuple(item[key][0].numpy() for key in ("image", "label")) for item in items])
    return drawn


class TestAugmentation:
    def test_mask_and_image_stay_together(self, mask_as_image):
        (drawn,) = augmented(mask_as_image, 60, 0)
        agreements = []
        for image, mask in drawn:
            assert image.shape == mask.shape == (96, 64)
            assert image.dtype == np.float32
            assert np.isfinite(image).all()
            assert set(np.unique(mask)) == {0, 1}
            middle = (np.median(image[mask == 1]) + np.median(image[mask == 0])) / 2
            agreements.append(np.mean((image > middle) == (mask == 1)))
        # bilinear and nearest differ at the border of the mask
        assert min(agreements) > 0.96
        assert np.mean(agreements) > 0.97
        assert len({mask.tobytes() for _, mask in drawn}) == 60

    def test_crop_and_enlargement_keep_the_centre_of_both(self, tmp_path):
        """A disc that no crop cuts: a mask enlarged by plain "nearest" moves by half a pixel."""
        rows, columns = np.mgrid[:96, :64]
        disc = np.hypot(rows - 47.5, columns - 31.5) < 12.3
        datalist = save_as_its_own_mask(disc, tmp_path)
        kept = [part for part in augmentation() if part["_target_"] in ("RandSpatialCropd", "Resized")]
        assert len(kept) == 2
        (drawn,) = augmented(datalist, 40, 0, **{"train#augmentation#transforms": kept})
        offsets, areas = [], set()
        for image, mask in drawn:
            # what is outside of the disc is the least, what is inside the most
            share = (image - image.min()) / (image.max() - image.min())
            offsets.append(np.subtract(center_of_mass(mask), center_of_mass(share)))
            areas.add(mask.sum())
        assert np.abs(np.mean(offsets, axis=0)).max() < 0.05
        assert len(areas) > 20, "crops are of many sizes"
        assert disc.sum() <= min(areas) < 1.2 * disc.sum()
        assert 1.4 * disc.sum() < max(areas) <= 1.9 * disc.sum()

    def test_what_moves_an_image_moves_its_mask(self):
        transforms = augmentation()
        found = [(part["_target_"], part["keys"]) for part in components(transforms) if "keys" in part]
        of_images = {"RandGaussianNoised", "RandShiftIntensityd", "RandScaleIntensityFixedMeand"}
        assert {name for name, keys in found if keys == "image"} == of_images
        both = [name for name, keys in found if keys == ["image", "label"]]
        geometry = {"Flip", "Rotate", "SpatialCrop", "Resized", "2DElastic", "GridDistortion", "Affine"}
        assert len(both) + len(of_images) == len(found)
        assert all(any(part in name for name in both) for part in geometry)

    def test_seeds(self, mask_as_image):
        first, again, other = augmented(mask_as_image, 8, 3, 3, 4)
        for (image, mask), (same_image, same_mask), (other_image, _) in zip(first, again, other, strict=True):
            np.testing.assert_array_equal(image, same_image)
            np.testing.assert_array_equal(mask, same_mask)
            assert (image != other_image).any()


def sam_adapter() -> SAMAdapter:
    """The preset's tiny one."""
    preset = read_json(BUNDLE.root / "configs" / "cpu.json")
    prefix = "network_types#sam_adapter#"
    torch.manual_seed(5)
    return SAMAdapter(**{id.removeprefix(prefix): value for id, value in preset.items() if id.startswith(prefix)})


@pytest.fixture(scope="module")
def sam_checkpoint(tmp_path_factory) -> Path:
    """What Segment Anything would publish of the tiny encoder."""
    published = sam_adapter().image_encoder.published_state_dict()
    weights = {f"image_encoder.{name}": value for name, value in published.items()}
    path = tmp_path_factory.mktemp("sam") / "sam.pth"
    torch.save(weights, path)
    return path


@pytest.mark.parametrize("architecture", [*ARCHITECTURES, "sam_adapter with a checkpoint"])
def test_each_architecture_trains_and_predicts(drac_phantoms, tmp_path, request, architecture):
    architecture, _, pretrained = architecture.partition(" with ")
    chosen = {"architectures": dict.fromkeys(CODES, architecture), "spatial_size": [64, 64]}
    more = {"pretrained": str(request.getfixturevalue("sam_checkpoint"))} if pretrained else {}
    workflow = training(drac_phantoms, tmp_path, {**chosen, **more, "lesion": "NV", "max_epochs": 1}, "cpu")
    workflow.initialize()
    network = workflow.parser.get_parsed_content("network_def")
    before = {name: value.clone() for name, value in network.named_parameters()}
    workflow.run()
    after = torch.load(tmp_path / "models" / "NV.pt", weights_only=True)
    changed = {name for name, value in before.items() if (after[name] != value).any()}
    assert all(value.isfinite().all() for value in after.values())
    if pretrained:
        encoder = torch.load(more["pretrained"], weights_only=True)
        assert encoder
        for name, value in encoder.items():
            assert torch.equal(after[name], value), "it is frozen"
        frozen = {name for name in before if name in encoder}
        assert changed
        assert not changed & frozen
        assert any("adapter" in name for name in changed)
    else:
        assert len(changed) > 0.7 * len(before)

    # the weights hold all that evaluation and inference need
    models, overrides = tmp_path / "models", {**SMALL, **chosen}
    with pytest.warns(UserWarning, match="IRMA and NPA are left out"):
        infer(drac_phantoms / TEST_IMAGES, tmp_path / "prediction", models, overrides, "cpu")
    maps = read_maps(tmp_path / "prediction" / "8", [CODES["NV"]])
    assert maps.shape == (1, 128, 128)
    assert maps.std() > 0
    with pytest.warns(UserWarning, match="IRMA and NPA are left out"):
        evaluate(drac_phantoms, tmp_path / "output", models, overrides, "cpu")
    score = pd.read_csv(tmp_path / "output" / "scores.csv", index_col="score").loc["Dice (DRAC2022)", CODES["NV"]]
    # of the one image that holds it; a training's validation is at the network's size
    assert 0 <= score <= 1


def test_initial_weights_are_what_a_training_starts_from(drac_phantoms, tmp_path):
    first = training(drac_phantoms, tmp_path / "first", {**TINY, "lesion": "NV"})
    run_workflow(first)
    models = tmp_path / "first" / "models"
    weights = torch.load(models / "NV.pt", weights_only=True)
    for name, file in {"folder": models, "file": models / "NV.pt"}.items():
        overrides = {**TINY, "lesion": "NV", "initial_weights": file.as_posix(), "seed": 9}
        workflow = training(drac_phantoms, tmp_path / name, overrides)
        workflow.initialize()
        network, starts = workflow.parser.get_parsed_content("network_def"), []
        trainer = workflow.parser.get_parsed_content("train#trainer")
        trainer.add_event_handler(
            Events.STARTED,
            lambda engine, network=network, starts=starts: starts.append(copy.deepcopy(network.state_dict())),
        )
        assert any((value != weights[key]).any() for key, value in network.state_dict().items())
        workflow.run()
        torch.testing.assert_close(starts, [weights], rtol=0, atol=0)
        assert any((value != weights[key]).any() for key, value in network.state_dict().items()), "it goes on"
        assert read_json(tmp_path / name / "output" / "NV" / "run.json")["settings"]["initial_weights"] == str(file)


def test_initial_weights_of_sam_adapter_freeze_its_encoder(drac_phantoms, tmp_path):
    """It is Segment Anything's in there, as it is where a checkpoint is given."""
    network = sam_adapter()
    encoder = {f"image_encoder.{name}" for name in network.image_encoder.published_state_dict()}
    (tmp_path / "initial").mkdir()
    torch.save(network.state_dict(), tmp_path / "initial" / "NV.pt")
    chosen = {"architecture": "sam_adapter", "lesion": "NV", "spatial_size": [64, 64], "max_epochs": 1}
    more = {"initial_weights": (tmp_path / "initial").as_posix()}
    run_workflow(training(drac_phantoms, tmp_path, {**chosen, **more}, "cpu"))
    before, after = network.state_dict(), torch.load(tmp_path / "models" / "NV.pt", weights_only=True)
    changed = {name for name in before if (after[name] != before[name]).any()}
    assert encoder <= before.keys()
    assert not changed & encoder
    for trained in ("adapter", "decoder"):
        assert any(trained in name for name in changed)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_checkpoint_is_recorded_where_it_is_read(tmp_path, architecture):
    """`pretrained` may stand in a config beside the other architectures, which read nothing from it."""
    for given in (None, "sam_vit_b_01ec64.pth"):
        settings = parsed(tmp_path, "settings", architecture=architecture, pretrained=given)
        assert settings["architecture"] == architecture
        assert settings["pretrained"] == (given if architecture == "sam_adapter" else None)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({"architecture": "nnunet"}, f"there is no architecture 'nnunet': choose one of {', '.join(ARCHITECTURES)}."),
        ({"lesion": "XX"}, "there is no lesion 'XX' in OCTA images: choose one of IRMA, NPA, NV."),
        ({"initial_weights": "nowhere"}, "there are no weights at nowhere: "),
        ({"initial_weights": "."}, ". holds no weights, none of IRMA.pt: "),
        ({"architecture": "sam_adapter", "pretrained": "nowhere.pth"}, "nowhere.pth: no such weights file; "),
    ],
)
def test_bad_input_is_named(drac_phantoms, tmp_path, overrides, expected):
    with pytest.raises(RuntimeError) as raised:
        run_workflow(training(drac_phantoms, tmp_path, {**TINY, **overrides}, "cpu"))
    assert sentence(raised.value).startswith(expected)
    assert not list(tmp_path.rglob("*.pt"))
