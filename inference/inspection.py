"""Looks at what an engine hands over, whatever the engine, before it is stored and charged."""

import struct
from io import BytesIO

from PIL import Image

from inference.engines.base import Drawing, UnusableImage
from inference.png import RGB_CHANNELS

# https://www.w3.org/TR/png-3/#5DataRep: the signature, IHDR with width and height first, IEND last.
HEAD = struct.Struct(">8s4x4sII")
SIGNATURE, FIRST_CHUNK = b"\x89PNG\r\n\x1a\n", b"IHDR"
END = b"\0\0\0\0IEND\xaeB`\x82"
# One color makes a PNG of a hundredth of its pixels or less, a picture one of a tenth or more. Only
# what is smaller than this share is decoded: 30 ms for 1024x1024.
SHARE_TO_DECODE = 1 / 50


def png_of(drawing: Drawing, *, width: int, height: int) -> bytes:
    """The drawing as PNG bytes that can be sold: whole, of `width` x `height` pixels, of two colors or more.

    Raises `UnusableImage`.
    """
    try:
        data = bytes(drawing.png())
    except Exception as error:  # an engine's own mistakes are of every kind, no bytes among them
        message = f"The {width}x{height} image cannot be encoded ({type(error).__name__})."
        raise UnusableImage(message) from error
    expected = (SIGNATURE, FIRST_CHUNK, width, height)
    if HEAD.unpack(data[: HEAD.size].ljust(HEAD.size)) != expected or not data.endswith(END):
        message = f"The engine's image is not a whole PNG of {width}x{height} pixels."
        raise UnusableImage(message)
    if len(data) < width * height * RGB_CHANNELS * SHARE_TO_DECODE and _is_one_color(data):
        message = f"All pixels of the {width}x{height} image have the same color."
        raise UnusableImage(message)
    return data


def _is_one_color(data: bytes) -> bool:
    try:
        with Image.open(BytesIO(data), formats=["PNG"]) as image:
            return image.convert("RGB").getcolors(maxcolors=1) is not None
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises for damaged files
        message = "The engine's image is not a PNG that can be read."
        raise UnusableImage(message) from error
