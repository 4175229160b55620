"""`generate_image`: one picture from the engine alone, the first thing to run on a new GPU host."""

import os
import time
from argparse import ArgumentTypeError
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser

from images.catalog import DEFAULT_MODEL, DEFAULT_SIZE, MODELS, SIZES, Model
from inference import inspection
from inference.engines.base import (
    SEED_MAX,
    Engine,
    EngineUnavailable,
    OutOfMemory,
    UnusableImage,
)
from inference.loading import build_engine


def prompt(text: str) -> str:
    """The prompt as given; refuses white space alone."""
    if not text.strip():
        message = "the prompt is empty: say what to draw, in quotes"
        raise ArgumentTypeError(message)
    return text


def size(text: str) -> tuple[int, int]:
    """Width and height in pixels of an offered size."""
    try:
        return SIZES[text]
    except KeyError:
        message = f"{text!r} is not offered: choose one of {', '.join(SIZES)}"
        raise ArgumentTypeError(message) from None


def seed(text: str) -> int:
    """A whole number from 0 to 2^32-1."""
    digits = text.isascii() and text.isdigit() and len(text) <= len(str(SEED_MAX))
    if not digits or int(text) > SEED_MAX:
        message = f"{text!r} is no seed: give a whole number from 0 to {SEED_MAX}"
        raise ArgumentTypeError(message)
    return int(text)


def out(text: str) -> Path:
    """A file that can be written: learned now, not after minutes of loading."""
    path = Path(text)
    writable = path if path.exists() else path.parent
    if path.is_dir() or not writable.exists() or not os.access(writable, os.W_OK):
        message = f"{text!r} cannot be written: name a file in a folder that exists and is yours"
        raise ArgumentTypeError(message)
    return path


class Command(BaseCommand):
    """Load the configured engine, draw one picture, and say what each part took."""

    help = "Draws one picture with the configured engine, without queue, database or billing."
    # The database may not be there yet.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """`PROMPT`, `--model`, `--size`, `--seed`, `--out`."""
        parser.add_argument("prompt", type=prompt, help="what to draw, in quotes")
        parser.add_argument("--model", choices=MODELS, default=DEFAULT_MODEL)
        parser.add_argument(
            "--size", type=size, default=DEFAULT_SIZE, help=f"one of {', '.join(SIZES)}"
        )
        parser.add_argument("--seed", type=seed, default=1, help=f"0 to {SEED_MAX} (default: 1)")
        parser.add_argument("--out", type=out, default="image.png", help="where the PNG goes")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Raises CommandError where no usable image comes of it, or the file cannot be written."""
        path: Path = options["out"]
        try:
            engine = self._loaded_engine(MODELS[options["model"]])
            picture = self._draw(engine, options)
        except (EngineUnavailable, ImproperlyConfigured) as error:
            message = f"The engine cannot be loaded. {error}"
            raise CommandError(message) from error
        except OutOfMemory as error:
            message = "The device is out of memory: choose a smaller --size, or free the device."
            raise CommandError(message) from error
        except UnusableImage as error:
            message = (
                f"The image is unusable, so no file was written. {error} Try another --seed; if "
                "every image is unusable, set FLUX_MODEL to intact weights."
            )
            raise CommandError(message) from error
        try:
            path.write_bytes(picture)
        except OSError as error:
            message = f"--out cannot be written ({error}): name another file."
            raise CommandError(message) from error
        self.stdout.write(f"{path}: {len(picture):,} bytes, drawn by {engine.fingerprint}")

    def _loaded_engine(self, model: Model) -> Engine:
        started = time.monotonic()
        engine = build_engine(model)
        engine.load()
        self.stdout.write(f"Loaded in {time.monotonic() - started:.2f} s.")
        return engine

    def _draw(self, engine: Engine, options: dict[str, Any]) -> bytes:
        width, height = options["size"]
        started = time.monotonic()

        def report(step: int, steps: int) -> None:
            self.stdout.write(f"Step {step} of {steps} after {time.monotonic() - started:.2f} s.")

        drawing = engine.draw(
            options["prompt"], width=width, height=height, seed=options["seed"], on_step=report
        )
        drawn = time.monotonic()
        picture = inspection.png_of(drawing, width=width, height=height)
        self.stdout.write(
            f"Drawn in {drawn - started:.2f} s, encoded in {time.monotonic() - drawn:.2f} s; "
            f"{drawing.prompt_tokens_seen} of {drawing.prompt_tokens} prompt tokens seen."
        )
        if drawing.prompt_tokens_unknown:
            self.stdout.write("The model does not know most of this prompt's text.")
        return picture
