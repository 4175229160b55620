"""Keeps what the transformer learns from: pictures as the autoencoder sees them, and their words."""

import os
from collections.abc import Callable, Iterator, Mapping
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from torch import Tensor

from tools.miniature.illustrator.drawing import draw
from tools.miniature.illustrator.layout import NUMBERS, Layout
from tools.miniature.illustrator.pictures import Picture
from tools.miniature.illustrator.sampling import invent
from tools.miniature.training.steps import precision

SEED = 2
CHUNK = 512

Size = tuple[int, int]


def picture(size: Size, number: int) -> tuple[Picture, NDArray[np.float64]]:
    """The picture with this number among those of `size`, and the numbers behind its layout."""
    rng = np.random.default_rng((SEED, *size, number))
    return invent(rng), rng.random(NUMBERS)


def keep(vae: AutoencoderKL, folder: Path, counts: Mapping[Size, int]) -> None:
    """Write the latents of the first pictures of each size, chunk by chunk, where missing.

    Each core has a process of its own. Raises RuntimeError when one ends before its work does.
    """
    chunks = [(size, n) for size, count in counts.items() for n in range(count // CHUNK)]
    missing = [chunk for chunk in chunks if not _file(folder, *chunk).exists()]
    cores = os.cpu_count() or 1
    shares = [missing[first::cores] for first in range(min(cores, len(missing)))]
    context = get_context("spawn")
    processes = [
        context.Process(target=_write, args=(vae, folder, share), daemon=True) for share in shares
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        message = "A process that computes latents broke off; its error is above."
        raise RuntimeError(message)


def read(folder: Path, size: Size, count: int) -> Tensor:
    """What `keep` wrote: float16, of shape (count, 16, height / 32, width / 32)."""
    return torch.cat([torch.load(_file(folder, size, n)) for n in range(count // CHUNK)])


def _write(vae: AutoencoderKL, folder: Path, chunks: list[tuple[Size, int]]) -> None:
    torch.set_num_threads(1)
    vae.to(memory_format=torch.channels_last)
    encode = torch.compile(lambda images: vae.encode(images).latent_dist.mean, dynamic=False)
    for size, number in chunks:
        file = _file(folder, size, number)
        part = file.with_suffix(".part")
        torch.save(torch.cat(list(_encoded(encode, size, number * CHUNK))), part)
        part.replace(file)
        print(f"latents: {file.name}", flush=True)


@torch.no_grad()
def _encoded(encode: Callable[[Tensor], Tensor], size: Size, first: int) -> Iterator[Tensor]:
    # One at a time stays in the processor's cache: three times as fast as sixteen, compiled.
    width, height = size
    for number in range(first, first + CHUNK):
        subject, numbers = picture(size, number)
        # A copy that may be written to, as torch asks.
        pixels = draw(subject, Layout.of(numbers), width=width, height=height).copy()
        image = torch.from_numpy(pixels).permute(2, 0, 1)[None].float().div(127.5).sub(1)
        with precision.quickest():
            yield encode(image.contiguous(memory_format=torch.channels_last)).half()


def _file(folder: Path, size: Size, number: int) -> Path:
    return folder / f"latents-{size[0]}x{size[1]}-{number:03}.pt"
