"""The vessel tree: arteries and veins that leave the optic disc, arch around the macula, taper and branch."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tinylesions.datasets.phantoms.geometry import Geometry

__all__ = ["STEP", "Vessel", "grow_vessels"]

STEP = 0.006  # distance between two points of a vessel, in diameters of the field of view
THINNEST = 0.0005  # radius below which a vessel is not drawn any more
AVASCULAR = 0.045  # radius around the fovea that no vessel enters


@dataclass(frozen=True)
class Vessel:
    """A tapered curve: points (n, 2) and radius (n,), both in diameters of the field of view."""

    points: np.ndarray
    radius: np.ndarray
    artery: bool


def _arcade(control: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Sample a cubic Bézier curve every STEP and let it meander."""
    t = np.linspace(0, 1, 200)[:, None]
    curve = (1 - t) ** 3 * control[0] + 3 * t * (1 - t) ** 2 * control[1]
    curve = curve + 3 * t**2 * (1 - t) * control[2] + t**3 * control[3]
    along = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(curve, axis=0).T))])
    stations = np.arange(0, along[-1], STEP)
    points = np.stack([np.interp(stations, along, curve[:, axis]) for axis in (0, 1)], axis=1)
    tangent = np.gradient(points, axis=0)
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], axis=1) / np.hypot(*tangent.T)[:, None]
    sway = sum(
        rng.normal(0, amplitude) * np.sin(2 * np.pi * (stations / wave + rng.uniform()))
        for amplitude, wave in ((0.007, 0.31), (0.004, 0.17), (0.0016, 0.083), (0.0004, 0.04))
    )
    return points + normal * (sway * np.minimum(stations / 0.08, 1))[:, None]


def _walk(rng: np.random.Generator, start: np.ndarray, heading: float, length: float, goal: np.ndarray) -> np.ndarray:
    """Walk ``length`` from ``start`` in a wavering direction that drifts towards ``goal``."""
    x, y = (float(value) for value in start)
    points, bend = [(x, y)], 0.0
    for turn in rng.normal(0, 0.035, max(int(length / STEP), 3)).tolist():
        bend = 0.82 * bend + turn
        wanted = math.atan2(goal[1] - y, goal[0] - x)
        heading += bend + 0.035 * math.sin(wanted - heading)
        x, y = x + STEP * math.cos(heading), y + STEP * math.sin(heading)
        points.append((x, y))
    return np.array(points)


def _taper(radius: float, count: int, end: float) -> np.ndarray:
    t = np.linspace(0, 1, count)
    return radius * (1 - (1 - end) * t) * np.minimum(1, (1 - t) * 3.5 + 0.15)


class _Territory:
    """Which vessel holds which part of the retina: vessels of one kind share out the retina instead of crossing."""

    def __init__(self, cell: float = 0.008) -> None:
        self.cell = cell
        self.owner: dict[tuple[bool, int, int], int] = {}

    def claim(self, vessel: Vessel) -> None:
        for x, y in (vessel.points / self.cell).astype(int):
            self.owner.setdefault((vessel.artery, x, y), id(vessel))

    def free(self, points: np.ndarray, parent: Vessel) -> np.ndarray:
        cells = [(parent.artery, x, y) for x, y in (points / self.cell).astype(int)]
        return np.array([self.owner.get(cell, id(parent)) == id(parent) for cell in cells])


def _branches(rng: np.random.Generator, parent: Vessel, fovea: np.ndarray, territory: _Territory) -> list[Vessel]:
    """Grow the branches that leave one vessel."""
    children: list[Vessel] = []
    position = rng.uniform(5, 16)
    side = rng.choice([-1, 1])
    while position < len(parent.points) - 2:
        index = int(position)
        start, radius = parent.points[index], parent.radius[index] * rng.choice([0.3, 0.45, 0.6, 0.75])
        position += rng.uniform(5, 20)
        side = -side if rng.uniform() < 0.75 else side
        if radius < THINNEST:
            continue
        direction = parent.points[index + 1] - start
        heading = np.arctan2(direction[1], direction[0]) + side * np.deg2rad(rng.uniform(28, 65))
        inward = np.cos(heading - np.arctan2(*(fovea - start)[::-1])) > 0.2
        goal = fovea if inward else start + 3 * np.array([np.cos(heading), np.sin(heading)]) + 0.8 * (start - fovea)
        points = _walk(rng, start, heading, rng.uniform(5, 14) * radius**0.55, goal)
        stops = (np.hypot(*(points - fovea).T) < AVASCULAR * rng.uniform(0.9, 1.7)) | (np.hypot(*points.T) > 0.52)
        stops |= ~territory.free(points, parent)
        stop = int(np.argmax(stops)) if stops.any() else len(points)
        if stop < 6:
            continue
        child = Vessel(points[:stop], _taper(radius, stop, rng.uniform(0.3, 0.6)), parent.artery)
        territory.claim(child)
        children.append(child)
    return children


def grow_vessels(rng: np.random.Generator, geometry: Geometry) -> list[Vessel]:
    """Grow the whole tree: a temporal and a nasal trunk above and below for each kind, twigs, and three generations."""
    disc, fovea = np.array(geometry.disc), np.array(geometry.fovea)
    reach = float(np.hypot(*(fovea - disc)))
    flip = np.array([geometry.temporal, 1.0])
    trunks: list[Vessel] = []
    for artery, widest in ((False, 0.0064), (True, 0.0048)):
        for vertical in (-1, 1):
            lift = rng.uniform(0.75, 1.0) * (0.9 if artery else 1.0)
            far = rng.uniform(0.35, 1.0)
            spread = rng.normal(0, 0.07, (4, 2)) * [[0], [1], [1], [1]]
            temporal = np.array([[0, 0], [-0.08, 0.62 * lift], [0.75, 1.25 * lift], [2.3, far]]) + spread
            nasal = np.array([[0, 0], [-0.1, 0.45], [-0.45, 0.8], [-0.95, rng.uniform(0.7, 1.7)]]) + spread
            for control, radius in ((temporal, widest), (nasal, widest * rng.uniform(0.6, 0.8))):
                offset = rng.normal(0, 0.006, 2) - [0.006 * geometry.temporal, 0]
                path = disc + offset + _arcade(control * [1, vertical] * reach, rng) * flip
                # Where it dives into the disc, a trunk thins and is lost to view.
                emerging = np.minimum(1, 0.3 + np.arange(len(path)) / 14)
                radii = _taper(radius * rng.uniform(0.85, 1.1), len(path), 0.4) * emerging
                trunks.append(Vessel(path, radii, artery))
        for _ in range(rng.integers(2, 5)):
            heading = rng.uniform(0, 2 * np.pi)
            start = disc + 0.5 * geometry.disc_radius * np.array([np.cos(heading), np.sin(heading)])
            points = _walk(rng, start, heading, rng.uniform(0.1, 0.3), disc + 5 * (start - disc))
            points = points[np.hypot(*(points - fovea).T) > AVASCULAR]
            radii = _taper(widest * rng.uniform(0.18, 0.4), len(points), 0.4)
            trunks.append(Vessel(points, radii * np.minimum(1, 0.1 + np.arange(len(points)) / 8), artery))
    territory = _Territory()
    for trunk in trunks:
        territory.claim(trunk)
    vessels, generation = list(trunks), trunks
    for _ in range(3):
        generation = [child for parent in generation for child in _branches(rng, parent, fovea, territory)]
        vessels += generation
    return vessels
