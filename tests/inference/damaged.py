"""Checkpoints that are broken in one place: the miniature, loaded from files like any other."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inference.checkpoints import MINIATURE

if TYPE_CHECKING:
    from inference.engines.flux import FluxEngine

NAN, INF = float("nan"), float("inf")
# Of a tensor; see conftest.py for why torch is not imported here.
Change = Callable[[Any], object]


@dataclass(frozen=True)
class Damage:
    """What is done to the tensors of one component, by name."""

    component: str
    changes: dict[str, Change]


def fill(value: float) -> Change:
    return lambda tensor: tensor.fill_(value)


def one_color(red: float, green: float, blue: float) -> Damage:
    """An autoencoder that gives the same color everywhere, each channel from -1 to 1."""

    def paint(bias: Any) -> None:
        for channel, value in enumerate((red, green, blue)):
            bias[channel] = value

    return Damage("vae", {"decoder.conv_out.weight": fill(0), "decoder.conv_out.bias": paint})


DAMAGES = {
    "T5 gives NaN": Damage("text_encoder_2", {"encoder.final_layer_norm.weight": fill(NAN)}),
    "CLIP gives NaN": Damage("text_encoder", {"final_layer_norm.weight": fill(NAN)}),
    "transformer gives NaN": Damage("transformer", {"proj_out.weight": fill(NAN)}),
    "transformer gives infinity": Damage("transformer", {"proj_out.bias": fill(INF)}),
    "autoencoder gives NaN": Damage("vae", {"decoder.conv_in.weight": fill(NAN)}),
    "autoencoder gives infinity": Damage("vae", {"decoder.conv_out.bias": fill(INF)}),
    "one channel is infinite": Damage(
        "vae", {"decoder.conv_out.bias": lambda bias: bias[1].fill_(-INF)}
    ),
    "gray": one_color(0, 0, 0),
    "white beyond the scale": one_color(5, 5, 5),
    "one color of three channels": one_color(-0.5, 0.1, 0.7),
}


def checkpoint(folder: Path, damage: Damage) -> Path:
    """A copy of the miniature with that change, below `folder`."""
    from safetensors.torch import load_file, save_file

    copy = shutil.copytree(MINIATURE, folder / "damaged")
    weights = next((copy / damage.component).glob("*.safetensors"))
    tensors = load_file(weights)
    for name, change in damage.changes.items():
        change(tensors[name])
    save_file(tensors, weights, metadata={"format": "pt"})
    return copy


def loaded(folder: Path, damage: Damage) -> FluxEngine:
    """An engine that has loaded such a checkpoint; nothing is drawn yet."""
    from inference.engines.flux import FluxEngine

    engine = FluxEngine(str(checkpoint(folder, damage)))
    engine.load()
    return engine
