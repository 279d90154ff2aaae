"""New vessels, the mark of proliferative retinopathy: tangles of fine loops on the disc or along an arcade."""

from __future__ import annotations

import numpy as np

from tinylesions.datasets.phantoms.geometry import Geometry
from tinylesions.datasets.phantoms.noise import random_stream
from tinylesions.datasets.phantoms.vessels import Vessel

__all__ = ["grow_new_vessels"]

STEP = 0.0025


def grow_new_vessels(seed: int, geometry: Geometry) -> list[Vessel]:
    """Grow one to three tangles, at least one of them in view."""
    rng = random_stream(seed, "new vessels")
    disc, fovea = np.array(geometry.disc), np.array(geometry.fovea)
    vessels: list[Vessel] = []
    for tangle in range(int(rng.integers(1, 4))):
        on_disc = tangle == 0 and rng.uniform() < 0.5
        turn = rng.choice([-1, 1]) * rng.uniform(0.9, 2.2)
        centre = (
            disc + rng.normal(0, 0.02, 2)
            if on_disc
            else 0.5 * (fovea + disc) + 0.26 * np.array([np.cos(turn), np.sin(turn)])
        )
        for _ in range(int(rng.integers(10, 22))):
            heading, bend = rng.uniform(0, 2 * np.pi), rng.choice([-1, 1]) * rng.uniform(0.02, 0.16)
            points = [centre + rng.normal(0, 0.012, 2)]
            for _ in range(int(rng.integers(12, 40))):
                heading += bend + rng.normal(0, 0.16)
                points.append(points[-1] + STEP * np.array([np.cos(heading), np.sin(heading)]))
            vessels.append(Vessel(np.array(points), np.full(len(points), rng.uniform(0.0006, 0.0012)), artery=False))
    return vessels
