"""The FLUX engine: diffusers' `FluxPipeline` on one device, the same code for every checkpoint."""

import gc
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from safetensors import SafetensorError

from inference import png
from inference.engines import checkpoint, library_logs, prompt_tokens
from inference.engines.base import (
    SEED_MAX,
    STEPS,
    TOKENS_SEEN_AT_MOST,
    EngineUnavailable,
    OnStep,
    OutOfMemory,
    UnusableImage,
)

library_logs.silence_library_logs()
# Here, not at the first load: the libraries take seconds to import, a checkpoint a fraction of one.
from diffusers import FluxPipeline  # noqa: E402 - talks while it is imported, so after its logs are silenced

WARM_UP_PROMPT = "a red circle"
# What from_pretrained raises for files that are missing, unreadable, of other shapes or too big.
LOADING_ERRORS = (
    OSError,
    ValueError,
    RuntimeError,
    KeyError,
    TypeError,
    AttributeError,
    ImportError,
    SafetensorError,
)


@dataclass(frozen=True, slots=True)
class FluxDrawing:
    """One picture: `pixels` of shape (height, width, 3), already in main memory."""

    pixels: NDArray[np.uint8]
    prompt_tokens: int
    prompt_tokens_seen: int
    prompt_tokens_unknown: int = 0

    def png(self) -> bytes:
        """The picture as PNG bytes."""
        return png.encode(self.pixels)


class FluxEngine:
    """Draws with a FLUX.1 Schnell checkpoint: 4 steps, no guidance, at most 256 text tokens.

    bfloat16 on CUDA, float32 on the CPU. For one thread: diffusers' pipelines keep state.
    """

    def __init__(self, model: str) -> None:
        """Take `model`, a hub id or a folder in the diffusers layout. Nothing is loaded yet."""
        self._model = model
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._dtype = torch.bfloat16 if self._device.type == "cuda" else torch.float32
        self._loaded_pipeline: FluxPipeline | None = None
        self._fingerprint = ""

    @property
    def fingerprint(self) -> str:
        """Checkpoint, weights, versions, precision and device. Raises when not loaded."""
        self._pipeline  # noqa: B018 - refuses when nothing is loaded
        return self._fingerprint

    @property
    def _pipeline(self) -> FluxPipeline:
        if self._loaded_pipeline is None:
            message = "No checkpoint is loaded: call load() first."
            raise EngineUnavailable(message)
        return self._loaded_pipeline

    def load(self) -> None:
        """Bring the checkpoint to the device, downloading a hub id that is not cached.

        Raises `EngineUnavailable`.
        """
        try:
            folder = _folder_of(self._model)
            index = checkpoint.read_index(folder)
            pipeline = FluxPipeline.from_pretrained(
                folder,
                dtype=self._dtype,
                local_files_only=True,
                use_safetensors=True,  # pickles can run code
            ).to(self._device)
            digest = checkpoint.digest_of(folder, index)
        except LOADING_ERRORS as error:
            message = (
                f"{self._model} cannot be loaded: {_in_brief(error)} Set FLUX_MODEL to a whole "
                "FluxPipeline checkpoint that fits the device, or leave it empty for the miniature."
            )
            raise EngineUnavailable(message) from error
        if self._device.type == "cpu":
            # Channels last takes a third off a picture of 1024x1024 (tools/miniature/docs/journal/0015).
            pipeline.vae.to(memory_format=torch.channels_last)
        pipeline.set_progress_bar_config(disable=True)
        self._loaded_pipeline = pipeline
        self._fingerprint = "; ".join(
            [
                checkpoint.name_of(folder, self._model),
                f"weights={digest}",
                f"diffusers={diffusers.__version__}",
                f"transformers={transformers.__version__}",
                f"torch={torch.__version__}",
                png.ENCODER,
                str(self._dtype).removeprefix("torch."),
                device_class(self._device),
            ]
        )

    def warm(self, sizes: Sequence[tuple[int, int]]) -> None:
        """Draw once at each (width, height), on a CPU at the smallest alone; see `Engine.warm`."""
        # A GPU picks its kernels by size; a CPU only needs its libraries awake, and draws slowly.
        for width, height in sizes if self._device.type == "cuda" else [min(sizes)]:
            self.draw(WARM_UP_PROMPT, width=width, height=height, seed=0)

    def draw(
        self, prompt: str, *, width: int, height: int, seed: int, on_step: OnStep | None = None
    ) -> FluxDrawing:
        """Draw `prompt`; see `Engine.draw`.

        Raises `OutOfMemory`, `UnusableImage` for one that is not finite or has one color, and
        ValueError for a seed or size that cannot be drawn: sides are multiples of 16 pixels, for
        the miniature of 64.
        """
        side = 2 * self._pipeline.vae_scale_factor  # the pipeline would round, and warn at most
        if min(width, height) < side or width % side or height % side:
            message = f"{width}x{height} cannot be drawn: the sides must be multiples of {side}."
            raise ValueError(message)
        if not 0 <= seed <= SEED_MAX:
            message = f"Seed {seed} is outside 0 to {SEED_MAX}."
            raise ValueError(message)
        # Half of a surrogate pair is a code point to Python, but no text to the tokenizers.
        prompt = prompt.encode("utf-8", "replace").decode("utf-8")
        tokens = prompt_tokens.count(self._pipeline.tokenizer_2, prompt, self._tokens_seen)
        with _out_of_memory_named(width, height):
            pixels = self._draw_pixels(prompt, width, height, seed, on_step)
        if png.is_one_color(pixels):
            color = bytes(pixels[0, 0]).hex()
            message = f"All pixels of the {width}x{height} image have the same color, #{color}."
            raise UnusableImage(message)
        return FluxDrawing(pixels, tokens.given, tokens.seen, tokens.unknown)

    def free_memory(self) -> None:
        """Give back what a failed drawing left on the device."""
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _draw_pixels(
        self, prompt: str, width: int, height: int, seed: int, on_step: OnStep | None
    ) -> NDArray[np.uint8]:
        sums = _Sums()
        with self._pipeline.vae.decoder.register_forward_hook(sums.after_decoding):
            images: torch.Tensor = self._pipeline(
                prompt,
                width=width,
                height=height,
                num_inference_steps=STEPS,
                guidance_scale=0.0,
                max_sequence_length=self._tokens_seen,
                # On the CPU, whatever draws: noise from a CUDA generator would be another.
                generator=torch.Generator("cpu").manual_seed(seed),
                callback_on_step_end=_step_callback(on_step, sums),
                callback_on_step_end_tensor_inputs=["latents"],
                output_type="pt",
            ).images
        # To bytes on the device: a quarter of the float32 to copy, and no PIL in between.
        image = (images[0] * 255).round().to(torch.uint8).permute(1, 2, 0)
        pixels: NDArray[np.uint8] = image.contiguous().cpu().numpy()
        # Read behind the pixels, when the device has nothing left to do.
        if stage := sums.not_finite():
            message = (
                f"The {width}x{height} image holds NaN or infinity after the {stage}: damaged "
                f"weights, or an overflow in {str(self._dtype).removeprefix('torch.')}."
            )
            raise UnusableImage(message)
        return pixels

    @property
    def _tokens_seen(self) -> int:
        """Places for T5's tokens: FLUX.1 Schnell's, or fewer when a checkpoint has fewer."""
        return min(TOKENS_SEEN_AT_MOST, int(self._pipeline.tokenizer_2.model_max_length))


class _Sums:
    """Of what each stage of one drawing gave, a sum on the device: not finite if any number is not.

    Taken before the pipeline clamps, which makes white or black of the infinite. A sum costs a tenth
    of `isfinite`, which writes a tensor of its own.
    """

    def __init__(self) -> None:
        self._by_stage: dict[str, torch.Tensor] = {}

    def after_denoising(self, latents: torch.Tensor) -> None:
        self._by_stage["text encoders and the transformer"] = latents.sum(dtype=torch.float32)

    def after_decoding(self, _module: object, _inputs: object, decoded: torch.Tensor) -> None:
        self._by_stage["autoencoder"] = decoded.sum(dtype=torch.float32)

    def not_finite(self) -> str:
        """The first stage whose numbers are not all finite, or an empty string. Waits for the device."""
        values = torch.stack(list(self._by_stage.values())).tolist()
        for stage, value in zip(self._by_stage, values, strict=True):
            if not math.isfinite(value):
                return stage
        return ""


def device_class(device: torch.device) -> str:
    """What kind of device decides the bytes: `cuda-nvidia-h200`, or `cpu-nhwc-avx512-2-threads`.

    On a CPU the order of the autoencoder's memory (NHWC, channels last) and the number of threads
    count: sums are split among them, and rounded where they meet.
    """
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        name = f"nhwc {torch.backends.cpu.get_cpu_capability()} {torch.get_num_threads()} threads"
    words = "".join(letter if letter.isascii() and letter.isalnum() else " " for letter in name)
    return "-".join([device.type, *words.lower().split()])[:40]


def _folder_of(model: str) -> Path:
    """The checkpoint's folder: `model` itself, or where the hub's files are kept."""
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder
    # The hub would be asked for a mistyped path, and answer with an error that does not name it.
    if model.startswith(("/", ".", "~")) or model.count("/") != 1:
        message = f"FLUX_MODEL is {model!r}: no such folder, and no hub id (owner/name) either."
        raise EngineUnavailable(message)
    return Path(FluxPipeline.download(model, use_safetensors=True))


def _in_brief(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300] if lines else 'no reason given'}"


def _step_callback(on_step: OnStep | None, sums: _Sums) -> Callable[..., dict[str, Any]]:
    def finished(
        _pipeline: object, step: int, _timestep: object, tensors: dict[str, torch.Tensor]
    ) -> dict[str, Any]:
        if step + 1 == STEPS:
            sums.after_denoising(tensors["latents"])
        if on_step is not None:
            on_step(step + 1, STEPS)
        return {}

    return finished


@contextmanager
def _out_of_memory_named(width: int, height: int) -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError as error:
        message = (
            f"The device has no room for a {width}x{height} image: call free_memory(), then draw "
            "this one alone."
        )
        raise OutOfMemory(message) from error
