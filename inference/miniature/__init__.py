"""The miniature: a tiny checkpoint of FLUX's own classes that draws what it is asked, anywhere.

`illustrator` draws the pictures that it learns from, `training` teaches it, `evaluation` examines it.
"""

from pathlib import Path

from inference.engines.checkpoint import name_of

CHECKPOINT = Path(__file__).parent / "checkpoint"
"""In the diffusers layout, ready for `from_pretrained`."""

NAME = "flux-miniature"
"""What a miniature's label calls it, wherever its folder lies."""


def is_miniature(model: str) -> bool:
    """Whether `FLUX_MODEL` of that value draws with a miniature, as far as this machine can see."""
    return not model or name_of(Path(model), model).startswith(NAME)
