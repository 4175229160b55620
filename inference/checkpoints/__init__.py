"""The checkpoints that ship with EcoHash: the miniature, in the diffusers layout."""

from pathlib import Path

from inference.engines.checkpoint import name_of

MINIATURE = Path(__file__).parent / "miniature"
"""In the diffusers layout, ready for `from_pretrained`."""

MINIATURE_NAME = "flux-miniature"
"""The name in a miniature's label file, wherever its folder is."""


def is_miniature(model: str) -> bool:
    """Whether `FLUX_MODEL` of that value draws with a miniature, as far as this machine can see."""
    return not model or name_of(Path(model), model).startswith(MINIATURE_NAME)
