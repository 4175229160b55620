"""PNG bytes: the very pixels, nothing else, always the same."""

from io import BytesIO

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from inference import png

CRITICAL_CHUNKS = [b"IHDR", b"IDAT", b"IEND"]


@pytest.fixture
def pixels() -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, size=(48, 64, 3), dtype=np.uint8)


def test_decoding_gives_back_every_pixel(pixels: NDArray[np.uint8]) -> None:
    image = Image.open(BytesIO(png.encode(pixels)))
    assert (image.format, image.size, image.mode) == ("PNG", (64, 48), "RGB")
    assert np.array_equal(np.asarray(image), pixels)


def test_equal_pixels_give_equal_bytes_however_they_lie_in_memory(
    pixels: NDArray[np.uint8],
) -> None:
    turned = np.asfortranarray(pixels)
    assert png.encode(turned) == png.encode(pixels)


def test_nothing_but_the_picture_is_written(pixels: NDArray[np.uint8]) -> None:
    data, position, chunks = png.encode(pixels), 8, []
    while position < len(data):
        chunks.append(data[position + 4 : position + 8])
        position += 12 + int.from_bytes(data[position : position + 4], "big")
    assert list(dict.fromkeys(chunks)) == CRITICAL_CHUNKS


@pytest.mark.parametrize(
    "wrong", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3))]
)
def test_anything_but_rgb_bytes_is_refused(wrong: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match="height, width, 3"):
        png.encode(wrong)
