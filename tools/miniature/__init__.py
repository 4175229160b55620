"""The miniature: a tiny checkpoint of FLUX's own classes that draws what it is asked, anywhere.

`illustrator` draws the pictures that it learns from, `training` teaches it, `evaluation` examines it.
The finished checkpoint is in `inference/checkpoints/miniature`.
"""
