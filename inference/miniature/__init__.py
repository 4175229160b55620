"""The miniature: a tiny checkpoint of FLUX's own classes that draws what it is asked, anywhere.

`illustrator` draws the pictures that it learns from, `training` teaches it, `evaluation` examines it.
"""

from pathlib import Path

CHECKPOINT = Path(__file__).parent / "checkpoint"
"""In the diffusers layout, ready for `from_pretrained`."""
