"""An epoch holds the windows that were asked for, as often as was asked for."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from tinylesions.datasets.errors import InputError
from tinylesions.datasets.lesions import CLASSES, LESIONS
from tinylesions.transforms import WindowSampler, WindowSampling, window_origins
from tinylesions.transforms.window_sampling import draw_epoch, lesions_in_windows

EQUAL = dict.fromkeys(LESIONS, 1)


def lesions_of(common: int = 60, rare: int = 3, both: int = 2, free: int = 35) -> torch.Tensor:
    """Windows with hard exudates (common), with soft exudates (rare), with both, and with nothing."""
    exudate, soft = (torch.tensor([[lesion == name for lesion in LESIONS]]) for name in LESIONS[2:])
    none = torch.zeros(1, len(LESIONS), dtype=torch.bool)
    kinds = ((exudate, common), (soft, rare), (exudate | soft, both), (none, free))
    return torch.cat([kind.expand(count, -1) for kind, count in kinds])


def epoch(held: torch.Tensor, seed: int = 0, **options) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    return draw_epoch(WindowSampling(**options).quotas(held), generator).tolist()


def test_by_default_each_window_comes_once():
    drawn = epoch(lesions_of())
    assert sorted(drawn) == list(range(100))
    assert drawn != sorted(drawn)


def test_an_epoch_is_that_of_its_seed():
    options = {"windows_per_epoch": 57, "positive_share": 0.4, "lesion_weights": {"hard_exudate": 1, "soft_exudate": 2}}
    assert epoch(lesions_of(), seed=3, **options) == epoch(lesions_of(), seed=3, **options)
    assert epoch(lesions_of(), seed=3, **options) != epoch(lesions_of(), seed=4, **options)


@pytest.mark.parametrize("count", [1, 40, 100, 250])
def test_windows_per_epoch(count):
    held = lesions_of()
    drawn = epoch(held, windows_per_epoch=count)
    assert len(drawn) == count
    often = Counter(drawn)
    assert max(often.values()) - min(often[number] for number in range(100)) <= 1
    positive = held.any(1)[drawn].sum().item()
    assert positive == round(0.65 * count), "the share that these windows have of all"


@pytest.mark.parametrize("share", [0.1, 0.333, 0.5, 1.0])
@pytest.mark.parametrize("count", [None, 30, 999])
def test_positive_share(share, count):
    held = lesions_of()
    drawn = epoch(held, positive_share=share, windows_per_epoch=count)
    assert len(drawn) == (count or 100)
    assert held.any(1)[drawn].sum() == round(share * (count or 100))
    for kind in (held.any(1), ~held.any(1)):
        often = torch.bincount(torch.tensor(drawn), minlength=100)[kind]
        assert often.max() - often.min() <= 1


@pytest.mark.parametrize("weights", [(1, 1), (1, 3), (0.2, 0.1), (0, 5)])
@pytest.mark.parametrize("count", [None, 31, 1000])
def test_lesion_weights(weights, count):
    held = lesions_of(both=0)
    drawn = epoch(held, lesion_weights=dict(zip(LESIONS[2:], weights, strict=True)), windows_per_epoch=count)
    total = count or len(held)
    assert len(drawn) == total
    positive = round(total * 63 / 98)
    for lesion, weight in zip((2, 3), weights, strict=True):
        assert held[drawn][:, lesion].sum() == pytest.approx(positive * weight / sum(weights), abs=1)
    assert (~held.any(1))[drawn].sum() == total - positive


def test_each_lesion_has_its_draws_whatever_else_its_windows_hold():
    held = torch.tensor([[1, 1, 1, 1], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]).bool()
    drawn = epoch(held, lesion_weights=EQUAL, windows_per_epoch=800)
    often = Counter(drawn)
    # half of each of three lesions' 200 draws, and all of the fourth's
    assert (often[0], often[1], often[2], often[3]) == (500, 100, 100, 100)


@pytest.mark.parametrize(
    "wrong",
    [
        {"windows_per_epoch": 0},
        {"positive_share": 0},
        {"positive_share": 1.01},
        {"positive_share": float("nan")},
        {"lesion_weights": {}},
        {"lesion_weights": {"hard_exudate": -1, "soft_exudate": 2}},
        {"lesion_weights": {"hard_exudate": 0}},
        {"lesion_weights": {"hard_exudate": float("inf")}},
        {"lesion_weights": {"drusen": 1}},
    ],
)
def test_nonsense_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        WindowSampling(**wrong)


@pytest.mark.parametrize(
    ("held", "options", "message"),
    [
        (lesions_of(), {"lesion_weights": EQUAL}, "windows with a microaneurysm, and no photo has one"),
        (lesions_of(free=0), {"positive_share": 0.5}, r"50 windows without a lesion \(is lesion_free_share 0\?\)"),
        (lesions_of(0, 0, 0, 9), {"positive_share": 0.5}, "windows with a lesion, and no photo"),
        (torch.empty(0, 4, dtype=torch.bool), {}, "No window is left to train on"),
    ],
)
def test_what_no_photo_holds_is_named(held, options, message):
    with pytest.raises(InputError, match=message):
        WindowSampling(**{"windows_per_epoch": 100, **options}).quotas(held)


@pytest.mark.parametrize("overlap", [0, 0.5])
def test_lesions_in_windows_against_a_loop(overlap):
    generator = torch.Generator().manual_seed(0)
    label_map = torch.randint(0, len(CLASSES), (1, 101, 87), generator=generator, dtype=torch.uint8)
    label_map *= torch.rand(1, 101, 87, generator=generator) < 0.01
    origins = window_origins((101, 87), (16, 12), overlap)
    found = lesions_in_windows(label_map, origins, (16, 12))
    expected = [
        [bool((label_map[0, top : top + 16, left : left + 12] == CLASSES.index(lesion)).any()) for lesion in LESIONS]
        for top, left in origins.tolist()
    ]
    assert found.tolist() == expected
    assert 0 < found.float().mean() < 1


def test_sampler_of_plain_windows():
    classes = [0, 1, 1, 1, 4, 5]
    windows = [{"label": torch.full((1, 4, 4), number, dtype=torch.uint8)} for number in classes]
    sampling = WindowSampling(16, positive_share=0.5, lesion_weights={"microaneurysm": 1, "soft_exudate": 1})
    sampler = WindowSampler(windows, sampling)
    assert len(sampler) == 16
    torch.manual_seed(0)
    first, second = list(sampler), list(sampler)
    assert first != second
    torch.manual_seed(0)
    assert list(sampler) == first
    assert Counter(classes[number] for number in first) == {0: 4, 5: 4, 1: 4, 4: 4}
