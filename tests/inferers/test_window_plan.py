from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from tinylesions.inferers import ForegroundSlidingWindowInferer
from tinylesions.inferers.window_plan import plan_windows

from .photos import disc, photo


def test_windows_and_skipped_windows_make_the_grid():
    foreground = torch.stack([disc(64, 96), disc(64, 96, row=0.2, radius=0.1), torch.zeros(64, 96, dtype=torch.bool)])
    plan = plan_windows(foreground, (16, 16), (0.5, 0.5))
    assert plan.run.shape == (3, 7, 11)
    assert plan.run.device.type == "cpu"
    assert plan.padding == (0, 0, 0, 0)
    assert plan.size == (64, 96)
    assert plan.windows == plan.run.sum() > 0
    assert plan.windows + plan.skipped == 3 * 7 * 11
    assert not plan.run[2].any()


@pytest.mark.parametrize(
    ("size", "padding"), [((20, 96), (0, 0, 6, 6)), ((64, 27), (2, 3, 0, 0)), ((31, 1), (15, 16, 0, 1))]
)
def test_small_photos_are_padded_with_background(size, padding):
    foreground = torch.ones(2, *size, dtype=torch.bool)
    plan = plan_windows(foreground, (32, 32), (0.5, 0.5))
    assert plan.padding == padding
    padded = functional.pad(foreground[0], padding)
    assert plan.size == padded.shape
    assert plan.run[0].tolist() == plan.grid.touching(padded).tolist()


@pytest.mark.parametrize("shape", ["(N, 1, H, W)", "(N, H, W)", "callable", "float", "uint8"])
def test_the_inferer_plans_with_a_foreground_in_any_form(shape):
    photos = torch.cat([photo(row=0.2, radius=0.2), photo(column=0.8, radius=0.2)])
    mask = torch.stack([disc(61, 83, radius=0.1), disc(61, 83, column=0.1, radius=0.1)])
    forms = {
        "(N, 1, H, W)": mask[:, None],
        "(N, H, W)": mask,
        "float": mask * 0.3,
        "uint8": mask.to(torch.uint8) * 255,
        "callable": None,
    }
    calls = []

    def function(given: torch.Tensor) -> torch.Tensor:
        calls.append(given)
        return mask

    inferer = ForegroundSlidingWindowInferer(16, foreground=function if shape == "callable" else None)
    plan = inferer.plan(photos, forms[shape])
    assert torch.equal(plan.run, plan_windows(mask, (16, 16), (0.25, 0.25)).run)
    assert len(calls) == (shape == "callable")
    assert all(given.shape == photos.shape for given in calls)


def test_the_foreground_is_by_default_what_is_above_0_in_any_channel():
    photos = torch.zeros(1, 3, 40, 40)
    photos[0, 0, 5, 5] = -1
    photos[0, 2, 30, 35] = 0.01
    plan = ForegroundSlidingWindowInferer(8, overlap=0).plan(photos)
    assert plan.run[0].nonzero().tolist() == [[3, 4]]


def test_a_mask_comes_before_the_function():
    def function(photos: torch.Tensor) -> torch.Tensor:
        raise AssertionError("asked although a mask was given")

    plan = ForegroundSlidingWindowInferer(8, foreground=function).plan(photo(), torch.zeros(1, 61, 83))
    assert plan.windows == 0


@pytest.mark.parametrize("shape", [(1, 61, 82), (2, 61, 83), (1, 3, 61, 83), (83, 61)])
def test_a_foreground_of_another_size_is_refused(shape):
    with pytest.raises(ValueError, match=r"does not fit photos of \(1, 3, 61, 83\)"):
        ForegroundSlidingWindowInferer(8).plan(photo(), torch.ones(shape))


@pytest.mark.parametrize("shape", [(3, 61, 83), (1, 3, 61, 83, 2)])
def test_photos_of_other_dimensions_are_refused(shape):
    with pytest.raises(ValueError, match=r"\(N, C, H, W\)"):
        ForegroundSlidingWindowInferer(8).plan(torch.ones(shape))
