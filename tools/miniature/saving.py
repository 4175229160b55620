"""Writes the miniature as a checkpoint in the diffusers layout, as FLUX.1 Schnell's own is."""

import json
import shutil
from pathlib import Path

import torch
from diffusers import FluxPipeline

from inference.checkpoints import MINIATURE_NAME
from inference.engines.checkpoint import LABEL_FILE

LABEL = {
    "name": MINIATURE_NAME,
    "note": "EcoHash's own tiny checkpoint of FLUX's classes. Not FLUX.1 Schnell.",
}


def save(pipeline: FluxPipeline, folder: Path) -> None:
    """Put `pipeline` into `folder` as float16 safetensors; what was there before goes."""
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    pipeline.to(dtype=torch.float16).save_pretrained(part, safe_serialization=True)
    (part / LABEL_FILE).write_text(json.dumps(LABEL, indent=2) + "\n", encoding="utf-8")
    for path in part.rglob("*.json"):
        _forget_where_it_came_from(path)
    for path in (part, *part.rglob("*")):  # mkdtemp and safetensors write for the owner alone
        path.chmod(0o755 if path.is_dir() else 0o644)
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)


def _forget_where_it_came_from(config: Path) -> None:
    """Diffusers notes the folder that a part was loaded from: a path of the training's machine."""
    settings = json.loads(config.read_text(encoding="utf-8"))
    if settings.pop("_name_or_path", None) is not None:
        config.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
