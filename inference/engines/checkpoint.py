"""What can be learned of a checkpoint's folder without loading it: its name and its digest."""

import json
import re
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from inference.engines.base import EngineUnavailable

INDEX_FILE = "model_index.json"
LABEL_FILE = "ecohash.json"
"""Beside the index: what a checkpoint of our own calls itself, so that no one mistakes it."""

PIPELINE_CLASS = "FluxPipeline"

NAME_LENGTH = 40
DIGEST_LENGTH = 8

# Up to this size a file is hashed whole: all of the miniature, every config and tokenizer.
WHOLE_FILE_BYTES = 100 * 2**20
# In bigger files (34 GB would take half a minute from memory, minutes from disk) this much from the
# middle of every tensor: a retrained, retouched or truncated tensor shows, a single flipped bit may
# not.
SAMPLE_BYTES = 4096
HEADER_LENGTH_BYTES = 8


def read_index(folder: Path) -> dict[str, Any]:
    """The checkpoint's `model_index.json`. Raises `EngineUnavailable` when FLUX's is not there."""
    try:
        index = json.loads((folder / INDEX_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        message = (
            f"{folder} holds no readable {INDEX_FILE}: set FLUX_MODEL to a checkpoint in the "
            "diffusers layout, or leave it empty for the miniature."
        )
        raise EngineUnavailable(message) from error
    if not isinstance(index, dict) or index.get("_class_name") != PIPELINE_CLASS:
        message = f"{folder} is no {PIPELINE_CLASS} checkpoint: set FLUX_MODEL to FLUX.1 Schnell's."
        raise EngineUnavailable(message)
    return index


def name_of(folder: Path, model: str) -> str:
    """What the checkpoint calls itself in its label, else the last part of `model`.

    Only letters, digits and `._-`, at most `NAME_LENGTH`: fit for a header.
    """
    try:
        label = json.loads((folder / LABEL_FILE).read_text(encoding="utf-8"))
        name = str(label["name"])
    except (OSError, ValueError, KeyError, TypeError):
        name = model.rstrip("/").rpartition("/")[2]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:NAME_LENGTH] or "unnamed"


def digest_of(folder: Path, index: dict[str, Any]) -> str:
    """`DIGEST_LENGTH` hex digits over the weights, configs and tokenizers that get loaded."""
    digest = sha256((folder / INDEX_FILE).read_bytes())
    components = sorted(name for name in index if (folder / name).is_dir())
    for component in components:
        for path in sorted((folder / component).iterdir()):
            if path.is_file() and path.suffix in {".safetensors", ".json", ".txt", ".model"}:
                digest.update(f"\0{component}/{path.name}\0{path.stat().st_size}\0".encode())
                for block in _blocks(path):
                    digest.update(block)
    return digest.hexdigest()[:DIGEST_LENGTH]


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        if path.stat().st_size <= WHOLE_FILE_BYTES or path.suffix != ".safetensors":
            while block := file.read(2**20):
                yield block
            return
        # https://github.com/huggingface/safetensors#format: the header's length, the header as
        # JSON with each tensor's place behind it, the tensors.
        length = file.read(HEADER_LENGTH_BYTES)
        header = file.read(int.from_bytes(length, "little"))
        yield header
        tensors = json.loads(header)
        tensors.pop("__metadata__", None)
        start_of_data = HEADER_LENGTH_BYTES + len(header)
        for name in sorted(tensors):
            first, last = tensors[name]["data_offsets"]
            file.seek(start_of_data + max(first, (first + last - SAMPLE_BYTES) // 2))
            yield file.read(min(SAMPLE_BYTES, last - first))
