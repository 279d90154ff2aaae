"""Which lesions a phantom has and where, and the grade that follows from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from tinylesions.datasets.phantoms.geometry import FULL_DIAMETER, Geometry
from tinylesions.datasets.phantoms.noise import random_stream

__all__ = ["SEVERE_PER_QUADRANT", "Lesion", "grade_of", "plan_lesions"]

SEVERE_PER_QUADRANT = 20
"""Severe means more haemorrhages than this in each quadrant (the first of the 4-2-1 rule's three conditions)."""

# Form of a haemorrhage: limits of its half axis in pixels of a photo of 4288×2848, and of its stretch.
HAEMORRHAGES = {
    "dot": ((14.0, 22.0), (1.0, 1.35)),
    "blot": ((22.0, 58.0), (1.0, 1.6)),
    "flame": ((30.0, 85.0), (2.2, 3.8)),
}


@dataclass(frozen=True)
class Lesion:
    """One lesion. Lengths are in diameters of the field of view.

    Args:
        kind: one of LESIONS.
        form: how it is drawn: "dot", "blot", "flame", "preretinal", "deposit" or "cotton wool".
        centre: (x, y) from the centre of the field of view.
        radius: half the longer axis.
        stretch: longer over shorter axis.
        angle: direction of the longer axis in radians.
        strength: 0 (invisible) to 1 (as plain as they get).
        seed: of its outline and texture.
    """

    kind: str
    form: str
    centre: tuple[float, float]
    radius: float
    stretch: float
    angle: float
    strength: float
    seed: int


def grade_of(lesions: Sequence[Lesion], new_vessels: bool) -> int:
    """Grade diabetic retinopathy 0..4 on the International Clinical Diabetic Retinopathy scale.

    - 4, proliferative: new vessels or a preretinal haemorrhage;
    - 3, severe: more than SEVERE_PER_QUADRANT haemorrhages in each of the four quadrants about the centre of the
      field of view (venous beading and IRMA, the other two conditions of the 4-2-1 rule, are not drawn);
    - 2, moderate: anything more than microaneurysms;
    - 1, mild: microaneurysms only;
    - 0: no lesion.
    """
    if new_vessels or any(lesion.form == "preretinal" for lesion in lesions):
        return 4
    counts = np.zeros((2, 2), int)
    for lesion in lesions:
        if lesion.kind == "haemorrhage":
            counts[int(lesion.centre[1] > 0), int(lesion.centre[0] > 0)] += 1
    if counts.min() > SEVERE_PER_QUADRANT:
        return 3
    if any(lesion.kind != "microaneurysm" for lesion in lesions):
        return 2
    return 1 if lesions else 0


class _Planner:
    """Draws lesions one by one and keeps them apart."""

    def __init__(self, rng: np.random.Generator, geometry: Geometry) -> None:
        self.rng, self.geometry = rng, geometry
        self.lesions: list[Lesion] = []
        self.taken: list[tuple[float, float, float]] = [(*geometry.disc, 1.15 * geometry.disc_radius)]
        self.plainness = rng.uniform(0.4, 0.9)

    def place(self, draw: Callable[[], np.ndarray], radius: float, tries: int = 400) -> tuple[float, float] | None:
        """Draw positions until one is free; None where the photo is full."""
        taken, gap = np.array(self.taken), 3 / self.geometry.diameter
        for _ in range(tries):
            x, y = draw()
            apart = np.hypot(taken[:, 0] - x, taken[:, 1] - y) > taken[:, 2] + radius + gap
            if apart.all() and self.geometry.within(np.array([x, y]), radius + 0.012):
                return float(x), float(y)
        return None

    def add(self, lesion: Lesion | None) -> bool:
        """Keep a lesion and its place; False where it found none."""
        if lesion is None:
            return False
        self.lesions.append(lesion)
        self.taken.append((*lesion.centre, 1.2 * lesion.radius))
        return True

    def draw(
        self, kind: str, form: str, draw: Callable[[], np.ndarray], pixels: float, stretch: float = 1.0
    ) -> Lesion | None:
        """Draw a lesion whose half axis is ``pixels`` in a photo of 4288×2848, along the nerve fibres."""
        radius = max(pixels / FULL_DIAMETER, 1.5 / self.geometry.diameter)
        centre = self.place(draw, 1.2 * radius)
        if centre is None:
            return None
        away = np.arctan2(centre[1] - self.geometry.disc[1], centre[0] - self.geometry.disc[0])
        strength = np.clip(self.rng.normal(self.plainness, 0.2), 0.12, 1.0)
        angle, seed = away + self.rng.normal(0, 0.25), self.rng.integers(2**31)
        return Lesion(kind, form, centre, radius, stretch, float(angle), float(strength), int(seed))

    def anywhere(self) -> np.ndarray:
        """Draw a position in the field of view, denser at the posterior pole."""
        if self.rng.uniform() < 0.5:
            return np.array(self.geometry.fovea) + self.rng.normal(0, 0.15, 2)
        return self.rng.uniform(-0.5, 0.5, 2)

    def microaneurysms(self, count: int) -> None:
        for _ in range(count):
            pixels = float(np.clip(8 * np.exp(self.rng.normal(0, 0.3)), 4.0, 12.5))
            self.add(self.draw("microaneurysm", "dot", self.anywhere, pixels))

    def haemorrhage(self, draw: Callable[[], np.ndarray], form: str | None = None) -> bool:
        form = form or str(self.rng.choice(["dot", "blot", "flame"], p=[0.45, 0.33, 0.22]))
        pixels, stretch = (self.rng.uniform(*limits) for limits in HAEMORRHAGES[form])
        return self.add(self.draw("haemorrhage", form, draw, pixels, stretch))

    def preretinal_haemorrhage(self) -> None:
        pixels, stretch = self.rng.uniform(130, 260), self.rng.uniform(1.3, 2.0)
        lesion = self.draw("haemorrhage", "preretinal", self.anywhere, pixels, stretch)
        if lesion is not None:  # the blood sinks: its upper edge is nearly level
            self.add(replace(lesion, angle=float(self.rng.normal(0, 0.1))))

    def severe_haemorrhages(self) -> None:
        for side in ((-1, -1), (1, -1), (-1, 1), (1, 1)):
            for _ in range(SEVERE_PER_QUADRANT + int(self.rng.integers(1, 6))):

                def in_quadrant(side: tuple[int, int] = side) -> np.ndarray:
                    return side * (0.008 + np.abs(self.anywhere()))

                # A dot still fits where a larger one does not.
                if not (self.haemorrhage(in_quadrant) or self.haemorrhage(in_quadrant, "dot")):
                    raise ValueError(f"a photo of {self.geometry.size} is too small for a grade 3 phantom")

    def hard_exudates(self, clusters: int) -> None:
        """Add clusters, some of them rings (circinate); deposits of one cluster may touch each other."""
        for _ in range(clusters):
            middle = np.array(self.geometry.fovea) + self.rng.normal(0, 0.13, 2)
            ring = self.rng.uniform(0.025, 0.06) if self.rng.uniform() < 0.35 else 0.0
            spread = 0.004 if ring else self.rng.uniform(0.006, 0.03)
            largest, plainness = self.rng.uniform(9, 26), self.rng.uniform(0.1, 0.85)
            deposits = []
            for _ in range(int(self.rng.integers(10, 55))):
                turn = self.rng.uniform(0, 2 * np.pi)
                spot = middle + ring * np.array([np.cos(turn), np.sin(turn)]) + self.rng.normal(0, spread, 2)
                pixels = float(np.clip(largest * np.exp(self.rng.normal(-0.9, 0.6)), 3.5, 45))
                stretch, angle = self.rng.uniform(1, 1.9), self.rng.uniform(0, np.pi)
                radius = max(pixels / FULL_DIAMETER, 1.5 / self.geometry.diameter)
                centre = self.place(partial(np.array, spot), 1.2 * radius, tries=1)
                strength = float(np.clip(self.rng.normal(plainness + 0.15 * np.log(pixels / 8), 0.08), 0.12, 1.0))
                seed = int(self.rng.integers(2**31))
                if centre is not None:
                    deposits.append(Lesion("hard_exudate", "deposit", centre, radius, stretch, angle, strength, seed))
            for deposit in deposits:
                self.add(deposit)

    def soft_exudates(self, count: int) -> None:
        for _ in range(count):
            pixels, stretch = self.rng.uniform(32, 75), self.rng.uniform(1, 1.6)
            self.add(self.draw("soft_exudate", "cotton wool", self.anywhere, pixels, stretch))


def plan_lesions(seed: int, geometry: Geometry, grade: int) -> list[Lesion]:
    """Draw the lesions of a phantom of ``grade`` 0..4; grade 4 needs new vessels besides, which are no lesion here.

    Raises:
        ValueError: the photo is too small for the lesions of its grade.
    """
    rng = random_stream(seed, "lesions")
    planner = _Planner(rng, geometry)
    if grade == 1:
        planner.microaneurysms(int(rng.integers(3, 25)))
    elif grade >= 2:
        if grade == 4 and rng.uniform() < 0.4:
            planner.preretinal_haemorrhage()
        if grade == 3 or rng.uniform() < 0.45:
            planner.soft_exudates(int(rng.integers(1, 7)))
        if grade == 3:
            planner.severe_haemorrhages()
        else:
            for _ in range(int(rng.integers(4, 19) * (1 if grade == 2 else 1.8))):
                planner.haemorrhage(planner.anywhere)
        if grade == 3 or rng.uniform() < 0.85:
            planner.hard_exudates(int(rng.integers(1, 6)))
        planner.microaneurysms(int(rng.integers(8, 50) * (1, 1, 1, 2, 1.5)[grade]))
    return planner.lesions
