"""The miniature: a tiny checkpoint of FLUX's own classes, so that its code path runs anywhere."""

from inference.miniature.cache import ensure

__all__ = ["ensure"]
