from __future__ import annotations

import numpy as np
import pytest

from tinylesions.datasets.phantoms.octa_curves import STEP, distance_from, tortuous_walk
from tinylesions.datasets.phantoms.octa_nonperfusion import nonperfusion_areas
from tinylesions.datasets.phantoms.octa_retina import (
    THIN,
    draw_mesh,
    draw_vessels,
    octa_geometry,
    octa_pixel,
    octa_vessels,
)
from tinylesions.datasets.phantoms.octa_scan import draw_motion, draw_signal, expose_octa, shift_rows

SIZE = (256, 320)
NOTHING = np.zeros(SIZE, np.float32)


@pytest.mark.parametrize("places", [[(3, 4), (20, 9)], [(0, 0)], [(38, 28), (60, 70)]])
def test_distance_from_curves_against_a_loop(places: list[tuple[int, int]]) -> None:
    where, distance = distance_from([np.array([place]) for place in places], (30, 40), 6)
    inside = [(x, y) for x, y in places if x < 40 and y < 30]
    rows, columns = where
    assert rows.start == max(min(y for _, y in inside) - 6, 0)
    assert columns.stop == min(max(x for x, _ in inside) + 7, 40)
    for row in range(distance.shape[0]):
        for column in range(distance.shape[1]):
            nearest = min(np.hypot(columns.start + column - x, rows.start + row - y) for x, y in inside)
            assert distance[row, column] == pytest.approx(nearest, abs=1e-5)


def test_curves_outside_the_image_are_refused() -> None:
    with pytest.raises(ValueError, match="start them inside"):
        distance_from([np.array([(-5, 3), (50, 3)])], (30, 40), 3)


def test_walks_have_their_length_wind_and_come_home() -> None:
    home, ways = np.array([50.0, 50.0]), []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        free = tortuous_walk(rng, (10, 10), 80, 5)
        steps = np.hypot(*np.diff(free, axis=0).T)
        assert steps == pytest.approx(STEP)
        assert len(free) == 80 / STEP
        ways.append(np.hypot(*(free[-1] - free[0])))
        kept = tortuous_walk(rng, home, 400, 5, home, 15)
        assert np.hypot(*(kept - home).T).max() < 25
    assert 5 < np.mean(ways) < 50  # of 80 pixels walked


def test_fovea_and_disc_are_in_the_frame() -> None:
    sides = set()
    for seed in range(30):
        geometry = octa_geometry(seed, (300, 300))
        places = geometry.to_pixels(np.array([geometry.fovea, geometry.disc]))
        assert ((places > 0) & (places < 299)).all()
        assert 0.3 * 300 < np.hypot(*(places[0] - places[1])) < 0.42 * 300
        sides.add(geometry.temporal)
    assert sides == {-1, 1}
    assert octa_pixel(octa_geometry(0, (1024, 1024))) == pytest.approx(1)


@pytest.mark.parametrize("seed", range(4))
def test_large_vessels_cross_lost_perfusion_and_thin_ones_end(seed: int) -> None:
    geometry = octa_geometry(seed, SIZE)
    vessels = octa_vessels(seed, geometry)
    everywhere, lost = draw_vessels(vessels, geometry, NOTHING), draw_vessels(vessels, geometry, NOTHING + 1)
    large = [vessel for vessel in vessels if vessel.radius.max() >= THIN]
    assert 0 < len(large) < len(vessels)
    assert np.array_equal(lost, draw_vessels(large, geometry, NOTHING))
    assert (everywhere > lost).any()
    assert not (everywhere < lost).any()


@pytest.mark.parametrize("seed", range(3))
def test_vessels_taper_and_are_brighter_than_the_mesh(seed: int) -> None:
    geometry = octa_geometry(seed, SIZE)
    vessels = octa_vessels(seed, geometry)
    widest = max(vessels, key=lambda vessel: vessel.radius.max())
    assert widest.radius[-5:].mean() < 0.6 * widest.radius.max()
    mesh, drawn = draw_mesh(seed, geometry, NOTHING), draw_vessels(vessels, geometry, NOTHING)
    grey = expose_octa(seed, geometry, np.maximum(0.55 * mesh, drawn), np.ones(SIZE, np.float32)).astype(float)
    assert grey[drawn > 0.7].mean() > 1.5 * grey[drawn < 0.05].mean()


@pytest.mark.parametrize("seed", range(6))
def test_nonperfusion_loses_capillaries_inside_its_mask_only(seed: int) -> None:
    geometry = octa_geometry(seed, SIZE)
    mask, lost = nonperfusion_areas(seed, geometry)
    assert lost.min() >= 0
    assert lost.max() <= 1
    assert lost[mask].mean() > 0.75
    assert lost[~mask].mean() < 0.01
    # Stumps: somewhere inside the mask the capillaries are left.
    assert lost[mask].min() < 0.5
    healthy, ill = draw_mesh(seed, geometry, NOTHING), draw_mesh(seed, geometry, lost)
    assert np.allclose(ill, healthy * (1 - lost))


def test_capillaries_are_fine_and_irregular() -> None:
    # A grid would have a sharp peak in its spectrum; here a ring of directions and spacings shares the power.
    mesh = draw_mesh(0, octa_geometry(0, (512, 512)), np.zeros((512, 512), np.float32))[-128:, -128:]
    power = np.abs(np.fft.fft2((mesh - mesh.mean()) * np.hanning(128)[:, None] * np.hanning(128))) ** 2
    assert power.max() < 0.02 * power.sum()


@pytest.mark.parametrize("seed", range(4))
def test_displaced_rows_move_by_a_few_columns(seed: int) -> None:
    geometry = octa_geometry(seed, (1024, 512))
    columns = shift_rows(seed, geometry)
    assert columns.shape == (1024, 512)
    shift = columns[:, 256] - 256
    assert 1 <= np.count_nonzero(shift) < 512
    assert np.abs(shift).max() <= 20
    picture = np.random.default_rng(0).uniform(size=(1024, 512))
    moved = np.take_along_axis(picture, columns, 1)
    for row in range(0, 1024, 7):
        assert np.array_equal(moved[row, 30:-30], np.roll(picture[row], -shift[row])[30:-30])


def test_motion_lines_are_horizontal() -> None:
    brighter, darker = 0, 0
    for seed in range(8):
        flow = np.ones(SIZE, np.float32)
        draw_motion(seed, octa_geometry(seed, SIZE), flow)
        rows = flow.mean(axis=1)
        brighter += np.count_nonzero(rows > 1.2)
        darker += np.count_nonzero(rows < 0.8)
        assert np.count_nonzero(np.abs(rows - 1) > 0.2) < 0.3 * SIZE[0]
    assert brighter > 4
    assert darker > 2


def test_signal_has_shadows_that_dim_but_keep_the_mesh() -> None:
    for seed in range(4):
        geometry = octa_geometry(seed, SIZE)
        signal, flow = draw_signal(seed, geometry), draw_mesh(seed, geometry, NOTHING)
        assert signal.min() > 0.1
        shadow = signal < np.quantile(signal, 0.1)
        grey = expose_octa(seed, geometry, flow, signal).astype(float)
        assert signal.min() < 0.65 * np.median(signal)
        assert grey[shadow].mean() < 0.85 * grey[~shadow].mean()
        # The grey level still follows the capillaries there.
        assert np.corrcoef(grey[shadow], flow[shadow])[0, 1] > 0.4


def test_speckle_multiplies() -> None:
    geometry, ones = octa_geometry(0, SIZE), np.ones(SIZE, np.float32)
    dim, bright = (expose_octa(0, geometry, flow * ones, ones).astype(float) for flow in (0.05, 0.5))
    assert bright.mean() > 2 * dim.mean()
    assert bright.std() > 1.5 * dim.std()
