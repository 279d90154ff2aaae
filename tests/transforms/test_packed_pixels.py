"""Windows come out of packed pixels as torch would cut, flip and transpose them."""

from __future__ import annotations

import pytest
import torch

from tinylesions.transforms.packed_pixels import SYMMETRIES, gather_windows, pack_pixels, unpack_pixels

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]


def moved(window: torch.Tensor, symmetry: int) -> torch.Tensor:
    """A window (..., h, w) flipped and transposed as the bits say."""
    flipped = window.flip([axis for bit, axis in ((1, -2), (2, -1)) if symmetry & bit])
    return flipped.mT if symmetry & 4 else flipped


def test_the_symmetries_are_the_eight_flips_and_rotations():
    window = torch.arange(9).view(3, 3)
    expected = {tuple(side.rot90(turns).flatten().tolist()) for side in (window, window.flip(0)) for turns in range(4)}
    assert len(expected) == SYMMETRIES
    assert {tuple(moved(window, symmetry).flatten().tolist()) for symmetry in range(SYMMETRIES)} == expected


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("roi_size", "symmetries"), [((5, 5), SYMMETRIES), ((1, 1), SYMMETRIES), ((4, 7), 4)])
def test_windows_of_several_photos(roi_size, symmetries, device):
    sizes = [(11, 9), (5, 7), (20, 8)]
    photos = [torch.randint(0, 2**31, size, dtype=torch.int32) for size in sizes]
    corners = [(0, 0, 0), (0, 6, 2), (1, 0, 0), (2, 3, 1), (2, 15, 1)]
    offsets = [0, 99, 99 + 35]
    expected, starts, strides, numbers = [], [], [], []
    for photo, top, left in corners:
        for symmetry in range(symmetries):
            window = photos[photo][top : top + roi_size[0], left : left + roi_size[1]]
            expected.append(moved(window, symmetry))
            width = sizes[photo][1]
            starts.append(offsets[photo] + top * width + left)
            strides.append(width)
            numbers.append(symmetry)
    pixels = torch.cat([photo.flatten() for photo in photos])
    found = gather_windows(*(torch.as_tensor(x, device=device) for x in (pixels, starts, strides, numbers)), roi_size)
    assert torch.equal(found.cpu(), torch.stack(expected))


@pytest.mark.parametrize("device", DEVICES)
def test_packed_pixels_come_back(device):
    photo = torch.randint(0, 256, (3, 6, 256), dtype=torch.uint8)
    photo[:, 0] = torch.arange(256)
    label_map = torch.randint(0, 256, (1, 6, 256), dtype=torch.uint8)
    packed = pack_pixels(photo, label_map)
    assert (packed.shape, packed.dtype) == ((6, 256), torch.int32)
    image, label = unpack_pixels(packed[None].to(device))
    assert torch.equal(image.cpu(), photo[None].float() / 255)
    assert image.dtype == torch.float32
    assert image.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(label.cpu(), label_map[None])
    assert label.is_contiguous()


@pytest.mark.parametrize(
    ("photo", "label_map", "wrong"),
    [
        (torch.zeros(3, 2, 2), torch.zeros(1, 2, 2, dtype=torch.uint8), "photo is .* got .*float32"),
        (torch.zeros(4, 2, 2, dtype=torch.uint8), torch.zeros(1, 2, 2, dtype=torch.uint8), r"photo is .* got \(4,"),
        (torch.zeros(3, 2, 2, dtype=torch.uint8), torch.zeros(1, 2, 2, dtype=torch.int64), "label map is .*int64"),
        (torch.zeros(3, 2, 2, dtype=torch.uint8), torch.zeros(4, 2, 2, dtype=torch.uint8), r"label map is .*\(4,"),
    ],
)
def test_other_tensors_are_refused(photo, label_map, wrong):
    with pytest.raises(ValueError, match=wrong):
        pack_pixels(photo, label_map)
