"""How pages show sizes, pictures and the time they took: `{% load pictures %}`."""

from typing import Any
from urllib.parse import urlsplit

from django import template

from images.catalog import SIZES
from images.models import Generation, Image
from images.pictures import links

register = template.Library()

LARGEST = max(max(size) for size in SIZES.values())


@register.inclusion_tag("components/shape.html")
def shape(size: str) -> dict[str, Any]:
    """The outline of a size, to scale with the others."""
    width, height = SIZES[size]
    return {
        "width": width,
        "height": height,
        "left": (LARGEST - width) // 2,
        "top": (LARGEST - height) // 2,
        "largest": LARGEST,
    }


@register.filter
def times(size: str) -> str:
    """`1024x768` → `1024 × 768`, as people write it."""
    return size.replace("x", " × ")


@register.filter
def width(size: str) -> int:
    """The pixels across."""
    return SIZES[size][0]


@register.filter
def height(size: str) -> int:
    """The pixels down."""
    return SIZES[size][1]


@register.filter
def path(image: Image) -> str:
    """The hosted link without its host: a page opened under another name of ours still may show it."""
    parts = urlsplit(links.url_of(image))
    return f"{parts.path}?{parts.query}"


@register.filter
def living_picture(generation: Generation) -> Image | None:
    """The picture while it can be fetched; None before it is drawn and after it expired."""
    image: Image | None = getattr(generation, "image", None)
    return image if image and image.is_alive and not generation.purged_at else None


@register.filter
def seconds(duration: float | None) -> str:
    """0.8431 → `0.84 s`, 12.3 → `12.3 s`."""
    if duration is None:
        return "–"
    return f"{duration:.2f} s" if duration < 10 else f"{duration:.1f} s"  # noqa: PLR2004 - a width
