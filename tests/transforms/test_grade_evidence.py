"""The colours of evidence and the picture of a photo's grade."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

from tinylesions.datasets.phantoms import draw_fundus
from tinylesions.transforms.grade_evidence import draw_grade_evidence
from tinylesions.transforms.heat import HEAT, overlay_heat

FACTS = {"grade": 2, "grade_name": "moderate", "grade_probability_2": 0.6312}


class TestColours:
    def test_equal_steps_look_equal(self):
        lab = rgb2lab(HEAT[None, ::15])[0]
        steps = np.linalg.norm(np.diff(lab, axis=0), axis=1)
        assert steps.max() < 1.15 * steps.min()
        assert (np.diff(rgb2lab(HEAT[None])[0][:, 0]) > -0.5).all()
        assert np.ptp(lab[:, 0]) > 60

    @pytest.mark.parametrize("seed", [0, 1])
    def test_stand_out_on_a_retina(self, seed):
        """Twice as far from the retina as its own pixels are from each other."""
        phantom = draw_fundus(seed, (192, 256))
        photo = phantom.photo[64:128, 96:160]
        half = overlay_heat(photo, np.full(photo.shape[:2], 0.5))
        lab = rgb2lab(photo)
        among_themselves = deltaE_ciede2000(lab, np.broadcast_to(np.median(lab, axis=(0, 1)), lab.shape)).mean()
        assert deltaE_ciede2000(lab, rgb2lab(half)).mean() > 2 * among_themselves


class TestOverlay:
    def test_nothing_where_there_is_no_evidence(self):
        photo = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
        heat = np.zeros((20, 30))
        heat[5, 6] = 1
        before = photo.copy()
        overlay = overlay_heat(photo, heat)
        changed = (overlay != photo).any(axis=-1)
        assert changed.nonzero() == ([5], [6])
        np.testing.assert_array_equal(photo, before)

    def test_more_evidence_covers_more(self):
        """What is left of the difference between a black and a white photo tells the opacity."""
        heat = np.linspace(0, 1, 50)[None]
        white, black = (overlay_heat(np.full((1, 50, 3), value, np.uint8), heat).astype(int) for value in (255, 0))
        left = (white - black)[0, :, 0]
        assert left[0] == 255
        assert (np.diff(left) <= 1).all()
        assert 255 * 0.2 < left[-1] < 255 * 0.6  # the photo is seen below the strongest too


class TestPicture:
    def test_photo_at_its_size_and_a_strip(self):
        photo = draw_fundus(0, (192, 256)).photo
        evidence = np.zeros((192, 256), dtype=np.float32)
        evidence[80:100, 90:130] = 1
        picture = draw_grade_evidence(photo, evidence, FACTS)
        assert picture.dtype == np.uint8
        assert picture.shape[1:] == (256, 3)
        expected = overlay_heat(photo, evidence)
        np.testing.assert_array_equal(picture[:192], expected)
        strip = picture[192:]
        assert 20 < len(strip) < 60
        assert (strip[:, :128].max(axis=(1, 2)) > 200).any()  # text
        assert (strip[:, :2] == 16).all()
        bar = strip[len(strip) // 2 - 1, 128:248].astype(int)
        assert bar[-1, 1] > bar[0, 1] + 50
        assert len(np.unique(bar, axis=0)) > 20

    def test_other_grades_are_told(self):
        photo, evidence = np.full((192, 256, 3), 90, np.uint8), np.zeros((192, 256))
        one = draw_grade_evidence(photo, evidence, FACTS)
        other = draw_grade_evidence(photo, evidence, FACTS | {"grade_probability_2": 0.7})
        assert one.shape == other.shape
        assert (one[192:] != other[192:]).any()

    def test_large_photos_shrink(self):
        photo, evidence = np.zeros((600, 4288, 3), np.uint8), np.zeros((600, 4288), np.float32)
        photo[:, :2144] = 100
        evidence[:, :2144] = 0.5
        picture = draw_grade_evidence(photo, evidence, FACTS)
        assert picture.shape[1] == 2144
        expected = overlay_heat(photo[:1, :1], evidence[:1, :1])[0, 0]
        np.testing.assert_array_equal(picture[150, 500], expected)
        assert (picture[:300, 1080:] == 0).all()

    @pytest.mark.filterwarnings("error")
    @pytest.mark.parametrize("size", [(20, 30), (9, 400), (400, 9)])
    def test_tiny_and_black_photos(self, size):
        picture = draw_grade_evidence(np.zeros((*size, 3), np.uint8), np.zeros(size), FACTS)
        assert (picture[: size[0]] == 0).all()

    def test_other_sizes(self):
        with pytest.raises(ValueError, match="of one size"):
            draw_grade_evidence(np.zeros((9, 9, 3), np.uint8), np.zeros((8, 9)), FACTS)
