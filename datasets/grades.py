"""The grades of diabetic retinopathy, in the one order that datasets, configs and writers share."""

from __future__ import annotations

__all__ = ["GRADES", "REFERABLE_GRADE"]

GRADES = ("no retinopathy", "mild", "moderate", "severe", "proliferative")
"""The names of the grades 0 to 4 of the international clinical scale, which IDRiD, DDR and EyePACS share."""

REFERABLE_GRADE = 2
"""The least grade that a screening refers to an ophthalmologist."""
