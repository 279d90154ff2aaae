"""The thresholds of single lesions that a user gives: `tinylesions predict --threshold LESION=VALUE`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from monai.bundle import ConfigParser

from tinylesions.datasets import InputError
from tinylesions.datasets.lesion_names import lesion_of_name

__all__ = ["lay_over_thresholds", "parse_thresholds"]


def parse_thresholds(texts: Sequence[str]) -> dict[str, float]:
    """Read ``LESION=VALUE``; the field's codes and plurals are understood.

    Raises:
        InputError: a text has no lesion or no number above 0 and below 1, or a lesion is there twice.

    Example:
        >>> parse_thresholds(["MA=0.25", "drusen=0.5"])
        {'microaneurysm': 0.25, 'drusen': 0.5}
    """
    thresholds: dict[str, float] = {}
    for text in texts:
        name, _, value = text.partition("=")
        lesion = lesion_of_name(name.strip())
        try:
            threshold = float(value)
        except ValueError:
            threshold = 0.0
        if not lesion or not 0 < threshold < 1:
            raise InputError(
                f"--threshold {text!r}: give a lesion and a number above 0 and below 1, as in --threshold"
                " haemorrhage=0.4."
            )
        if lesion in thresholds:
            raise InputError(f"--threshold {lesion}: it is given twice, give it once.")
        thresholds[lesion] = threshold
    return thresholds


def lay_over_thresholds(parser: ConfigParser, given: Mapping[str, float]) -> None:
    """Put a user's thresholds in the place of those of an inference config's ``thresholds``.

    Lesions that the user gives none for keep that of the weights, or 0.5.

    Args:
        parser: of the config, not yet run.
        given: lesion → threshold.

    Raises:
        InputError: the config has no thresholds, or the weights know no such lesion or take the most probable class.
    """
    if not given:
        return
    if "thresholds" not in parser or ("softmax" in parser and parser.get_parsed_content("softmax")):
        raise InputError(
            "--threshold is for weights with a threshold for each lesion, and these have none: leave it out."
        )
    lesions = list(parser.get_parsed_content("lesions"))
    unknown = [lesion for lesion in given if lesion not in lesions]
    if unknown:
        raise InputError(
            f"--threshold {unknown[0]}: the weights look for no such lesion, choose one of {', '.join(lesions)}."
        )
    own = parser.get_parsed_content("thresholds") or {}
    parser["thresholds"] = {lesion: given.get(lesion, own.get(lesion, 0.5)) for lesion in lesions}
