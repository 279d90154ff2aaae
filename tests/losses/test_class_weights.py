"""The paper's tables of class weights."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from tinylesions.datasets import InputError
from tinylesions.losses import class_weights

# the background, then the classes in the order of the paper's tables
CONIC = [83.975, 0.126, 10.308, 1.855, 0.551, 0.103, 3.081]
"""Table 4.1, per cent of all pixels."""

TABLE_4_11 = {
    4: [0.0179, 0.1746, 0.1324, 0.1666, 0.1726, 0.1747, 0.1611],
    5: [0.0228, 0.2189, 0.0389, 0.1633, 0.2037, 0.2198, 0.1326],
    6: [0.0, 0.2240, 0.0398, 0.1671, 0.2084, 0.2249, 0.1357],
}
TABLE_3_2 = [0.00058, 0.39031, 0.00473, 0.02632, 0.08854, 0.47268, 0.01584]


@pytest.mark.parametrize("scheme", TABLE_4_11)
@pytest.mark.parametrize("scale", [1, 1e-2, 1e7])
def test_table_4_11(scheme, scale):
    weights = class_weights([scale * share for share in CONIC], scheme)
    assert weights == pytest.approx(TABLE_4_11[scheme], abs=1e-4)


def test_table_3_2():
    """Printed from frequencies with more digits than table 4.1 has: neutrophils, 0.126 %, are 0.5 % off."""
    assert class_weights(CONIC, 2) == pytest.approx(TABLE_3_2, rel=0.006)


def test_table_3_3():
    assert class_weights([CONIC[0], sum(CONIC[1:])], 2) == pytest.approx([0.16023, 0.83977], abs=3e-5)


def test_balanced_weights_are_those_of_scikit_learn():
    pixels = np.repeat(np.arange(4), [50, 7, 1, 20])
    expected = compute_class_weight("balanced", classes=np.arange(4), y=pixels)
    assert class_weights([50, 7, 1, 20], 2) == pytest.approx((expected / expected.sum()).tolist(), rel=1e-12)


@pytest.mark.parametrize("frequencies", [CONIC, [3, 1], [1, 1, 1], [0.5, 0.25, 0.25, 0]])
@pytest.mark.parametrize("scheme", range(1, 7))
def test_figure_4_3(scheme, frequencies):
    """Sum and order: 3 rises with the frequency, 2 and 4 to 6 fall, within the foreground."""
    weights = class_weights(frequencies, scheme)
    assert len(weights) == len(frequencies)
    assert math.fsum(weights) == pytest.approx(1, abs=1e-12)
    assert min(weights) >= 0
    if scheme == 1:
        assert len(set(weights)) == 1
        return
    for one, other in zip(range(1, len(frequencies)), range(2, len(frequencies)), strict=False):
        if min(frequencies[one], frequencies[other]) > 0 and frequencies[one] != frequencies[other]:
            assert (weights[one] < weights[other]) == ((frequencies[one] < frequencies[other]) == (scheme == 3))


def test_exponential_schemes_have_the_papers_ratios():
    rising, falling = class_weights(CONIC, 3), class_weights(CONIC, 4)
    for one in range(7):
        ratio = math.exp(math.e * (CONIC[one] - CONIC[0]) / sum(CONIC))
        assert rising[one] / rising[0] == pytest.approx(ratio)
        assert falling[0] / falling[one] == pytest.approx(ratio)


def test_a_class_without_pixels():
    assert class_weights([6, 0, 2], 2) == pytest.approx([0.25, 0, 0.75])
    for scheme in (1, 3, 4, 5, 6):
        assert all(math.isfinite(weight) for weight in class_weights([6, 0, 2], scheme))


@pytest.mark.parametrize("scheme", [0, 7, 2.5, "2", None])
def test_there_is_no_such_scheme(scheme):
    with pytest.raises(InputError, match="choose one of 1 to 6"):
        class_weights(CONIC, scheme)


@pytest.mark.parametrize("value", [-1, math.nan, math.inf])
def test_no_frequencies(value):
    with pytest.raises(ValueError, match="numbers of 0 or more"):
        class_weights([1, value], 1)


@pytest.mark.parametrize(("frequencies", "scheme"), [([0, 0], 2), ([], 1), ([5, 0, 0], 5), ([5, 0, 0], 6)])
def test_nothing_to_weigh_by(frequencies, scheme):
    with pytest.raises(InputError, match="no pixels"):
        class_weights(frequencies, scheme)
