from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from skimage.color import rgb2hed

from tinylesions.datasets.nuclei import CONIC_CLASSES, MONUSAC_CLASSES
from tinylesions.datasets.phantoms import draw_tile
from tinylesions.datasets.phantoms.histology import TISSUES
from tinylesions.datasets.phantoms.histology_sources import cut_patches, draw_sources

# The paper's tables 4.1 and 4.2, in percent of all pixels.
SHARES = {
    "conic": {
        "background": 83.975,
        "neutrophil": 0.126,
        "epithelial": 10.308,
        "lymphocyte": 1.855,
        "plasma": 0.551,
        "eosinophil": 0.103,
        "connective": 3.081,
    },
    "monusac": {
        "background": 82.574,
        "epithelial": 10.905,
        "lymphocyte": 4.422,
        "macrophage": 1.737,
        "neutrophil": 0.363,
    },
}
CLASSES = {"conic": CONIC_CLASSES, "monusac": MONUSAC_CLASSES}
Tile = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module", params=["conic", "monusac"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def tiles(kind: str) -> list[Tile]:
    """40 tiles of ten sources; their tissues go round twice and a half, so the first 32 have them all alike."""
    return [(image, labels) for _, _, image, labels in draw_sources(0, "test", 40, (192, 192), kind)]


def draw(seed: int, **options: object) -> Tile:
    return draw_tile(np.random.default_rng(seed), (96, 128), **options)  # type: ignore[arg-type]


def test_same_seed_gives_identical_bytes_whatever_the_global_state(kind: str) -> None:
    np.random.seed(1)  # noqa: NPY002
    first = draw(3, kind=kind)
    np.random.seed(2)  # noqa: NPY002
    second, other = draw(3, kind=kind), draw(4, kind=kind)
    assert [part.tobytes() for part in first] == [part.tobytes() for part in second]
    assert first[0].tobytes() != other[0].tobytes()


@pytest.mark.parametrize("size", [(64, 64), (65, 130), (256, 256)])
def test_shapes_and_types(kind: str, size: tuple[int, int]) -> None:
    image, labels = draw_tile(np.random.default_rng(0), size, kind)
    assert (image.shape, image.dtype) == ((*size, 3), np.uint8)
    assert (labels.shape, labels.dtype) == ((*size, 2), np.int32)
    assert labels.min() == 0
    assert 0 < labels[..., 1].max() < len(CLASSES[kind])


def test_class_shares_are_the_papers(kind: str, tiles: list[Tile]) -> None:
    classes = np.concatenate([labels[..., 1].ravel() for _, labels in tiles[:32]])
    for number, name in enumerate(CLASSES[kind]):
        share = 100 * np.mean(classes == number)
        # A twentieth of the share and 0.05 points: the rare classes are a nucleus or two in a source.
        assert share == pytest.approx(SHARES[kind][name], abs=0.05 * min(SHARES[kind][name], 20) + 0.05), name


def test_every_tissue_has_its_multiple() -> None:
    assert list(TISSUES) == ["mucosa", "inflamed", "muscle", "tumour"]
    for name in CONIC_CLASSES[1:]:
        assert np.mean([multiples.get(name, 1) for multiples in TISSUES.values()]) == pytest.approx(1)
    for tissue, multiples in TISSUES.items():
        _, labels = draw_tile(np.random.default_rng(5), (384, 384), "conic", tissue)
        share = 100 * np.mean(labels[..., 1] == CONIC_CLASSES.index("epithelial"))
        assert share == pytest.approx(multiples["epithelial"] * SHARES["conic"]["epithelial"], rel=0.05)


def test_tissues_hold_every_class(kind: str) -> None:
    for tissue in TISSUES:
        _, labels = draw_tile(np.random.default_rng(1), (512, 512), kind, tissue)
        assert set(np.unique(labels[..., 1])) == set(range(len(CLASSES[kind]))), tissue


def test_a_nucleus_is_one_piece_of_one_class(tiles: list[Tile]) -> None:
    cross = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]])
    for _, labels in tiles[:8]:
        numbers, classes = labels[..., 0], labels[..., 1]
        assert np.array_equal(numbers > 0, classes > 0)
        assert np.array_equal(np.unique(numbers), np.arange(numbers.max() + 1))
        for number in range(1, numbers.max() + 1):
            mask = numbers == number
            assert mask.sum() >= 5
            assert np.unique(classes[mask]).size == 1
            assert ndimage.label(mask, cross)[1] == 1
    touching = sum(
        int(((left != right) & (left > 0) & (right > 0)).sum())
        for _, labels in tiles
        for left, right in [(labels[:, :-1, 0], labels[:, 1:, 0])]
    )
    assert touching > 0  # nuclei that only their numbers tell apart


def test_nuclei_are_darker_and_bluer_than_what_is_around(tiles: list[Tile]) -> None:
    darkness = []
    for image, labels in tiles:
        nuclei = labels[..., 0] > 0
        inside = ndimage.binary_erosion(nuclei)
        around = ~ndimage.binary_dilation(nuclei, iterations=3)
        haematoxylin = rgb2hed(image)[..., 0]
        assert haematoxylin[inside].mean() > 2 * haematoxylin[around].mean()
        darkness.append(image[inside].mean() / image[around].mean())
        bluish = image[..., 2].astype(float) - image[..., 0]
        assert bluish[inside].mean() > bluish[around].mean()
    assert max(darkness) < 0.93
    assert np.median(darkness) < 0.8


def test_colours_alone_do_not_tell_the_classes(kind: str, tiles: list[Tile]) -> None:
    # The darkness of a nucleus overlaps between the classes: no threshold sorts them.
    images, labels = (np.stack(part) for part in zip(*tiles, strict=True))
    grey = images.mean(axis=-1)
    epithelial, lymphocyte = (
        grey[labels[..., 1] == CLASSES[kind].index(name)] for name in ("epithelial", "lymphocyte")
    )
    best = max((epithelial > level).mean() + (lymphocyte <= level).mean() for level in range(40, 220, 4))
    assert 1.3 < best < 1.97


def test_background_holds_what_resembles_nuclei(tiles: list[Tile]) -> None:
    # Dirt and red cells: pixels off the nuclei as dark as the nuclei's middle.
    dark = 0
    for image, labels in tiles:
        nuclei = labels[..., 0] > 0
        grey = ndimage.gaussian_filter(image.astype(float).mean(axis=-1), 1)
        far = ~ndimage.binary_dilation(nuclei, iterations=4)
        dark += int((grey[far] < np.median(grey[nuclei])).sum())
    assert dark > 5 * len(tiles)


def test_patches_of_a_source_share_its_colours() -> None:
    patches = list(draw_sources(0, "colours", 24, (64, 96), "conic"))
    assert [source for source, *_ in patches] == [source for source in range(6) for _ in range(4)]
    assert [index for _, index, *_ in patches] == [0, 1, 2, 3] * 6
    # the empty slide's white is the brightest there is
    whites = np.array([np.percentile(image.reshape(-1, 3), 99.5, axis=0) for _, _, image, _ in patches])
    within = whites.reshape(6, 4, 3).std(axis=1).mean()
    assert within < 2 * whites.reshape(6, 4, 3).mean(axis=1).std(axis=0).mean() + 3


@pytest.mark.parametrize(("count", "sources"), [(1, 1), (4, 4), (8, 4), (15, 5), (16, 4), (21, 6)])
def test_four_patches_have_four_sources(count: int, sources: int) -> None:
    patches = list(draw_sources(1, "few", count, (64, 64), "conic"))
    assert len(patches) == count
    assert {source for source, *_ in patches} == set(range(sources))


def test_cutting_numbers_the_parts_of_nuclei_and_drops_crumbs() -> None:
    image = np.arange(64 * 64 * 3, dtype=np.uint8).reshape(64, 64, 3)
    labels = np.zeros((64, 64, 2), np.int32)
    labels[10:20, 28:36] = 7, 2  # cut into two halves by the middle
    labels[40:44, 31:36] = 9, 1  # 4 pixels to the left, 16 to the right
    labels[40:44, 36:40] = 4, 3  # touches it
    parts = list(cut_patches(image, labels, (64, 32)))
    assert all(np.array_equal(part[0], image[:, 32 * index :][:, :32]) for index, part in enumerate(parts))
    left, right = (part[1] for part in parts)
    assert np.argwhere(left[..., 0] == 1)[[0, -1]].tolist() == [[10, 28], [19, 31]]
    assert left[..., 0].max() == 1
    assert left[40:44, 31].max() == 0
    assert right[..., 0].max() == 3
    assert [sorted({tuple(row) for row in right[right[..., 0] == number]}) for number in (1, 2, 3)] == [
        [(1, 2)],
        [(2, 1)],
        [(3, 3)],
    ]


def test_wrong_arguments_are_refused() -> None:
    for size in ((63, 64), (64, 10), (-5, 200)):
        with pytest.raises(ValueError, match="at least"):
            draw_tile(np.random.default_rng(0), size)
    with pytest.raises(ValueError, match="'pannuke'"):
        draw(0, kind="pannuke")
    with pytest.raises(ValueError, match="'bone'"):
        draw(0, tissue="bone")
