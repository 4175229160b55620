"""`python -m tools.miniature.training`: the whole checkpoint from nothing, or on from where it was."""

import argparse
import time
from pathlib import Path

import torch
from diffusers import AutoencoderKL, FluxPipeline

from inference.checkpoints import MINIATURE
from inference.engines.flux import FluxEngine
from tools.miniature import saving
from tools.miniature.evaluation import contact_sheet
from tools.miniature.training import autoencoder, curriculum, flow, latents, reading, untaught

AUTOENCODER_STEPS, AUTOENCODER_FURTHER_STEPS = 3_000, 1_000
READING_STEPS = 600
FLOW_STEPS = 12_000

TIME_IS_UP = "Time is up: run the same command again to go on."


def main() -> None:
    """Train, save, and show what came of it."""
    arguments = _arguments()
    # Numbers too small for a processor's quick path arise in Muon: a step takes half as long without.
    torch.set_flush_denormal(True)
    # What was kept on the way to a checkpoint is not what going on from it needs.
    folder: Path = arguments.work / "further" if arguments.further else arguments.work
    folder.mkdir(parents=True, exist_ok=True)
    deadline = None
    if arguments.minutes is not None:
        deadline = time.monotonic() + 60 * arguments.minutes
    pipeline = _reading_pipeline(arguments, folder, deadline)
    if pipeline is None:
        print(TIME_IS_UP)
        return
    latents.keep(
        pipeline.vae, folder, {size: kept.pictures for size, kept in curriculum.SIZES.items()}
    )
    stages = curriculum.FURTHER if arguments.further else curriculum.STAGES
    flow.train(pipeline, folder, stages=stages, steps=arguments.steps, deadline=deadline)
    untaught.settle(pipeline)
    saving.save(pipeline, arguments.checkpoint)
    engine = FluxEngine(str(arguments.checkpoint))
    engine.load()
    contact_sheet.draw(engine, folder / "contact-sheet.png")
    print(f"Saved {arguments.checkpoint}; look at {folder / 'contact-sheet.png'}.")


def _reading_pipeline(
    arguments: argparse.Namespace, folder: Path, deadline: float | None
) -> FluxPipeline | None:
    """All that comes before the transformer learns; None when time ran out."""
    if arguments.further:
        pipeline = FluxPipeline.from_pretrained(arguments.checkpoint, dtype=torch.float32)
        if not arguments.keep_autoencoder:
            vae = autoencoder.train(
                folder, steps=AUTOENCODER_FURTHER_STEPS, start=pipeline.vae, deadline=deadline
            )
            if vae is None:
                return None
            pipeline.register_modules(vae=vae)
        return pipeline
    if arguments.keep_autoencoder:
        vae = AutoencoderKL.from_pretrained(arguments.checkpoint / "vae", dtype=torch.float32)
    else:
        vae = autoencoder.train(folder, steps=AUTOENCODER_STEPS, deadline=deadline)
    if vae is None:
        return None
    pipeline = flow.untrained(vae)
    if not reading.teach(pipeline, folder, steps=READING_STEPS, deadline=deadline):
        return None
    return pipeline


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--work", type=Path, default=Path("var/miniature"), help="kept between runs"
    )
    parser.add_argument("--checkpoint", type=Path, default=MINIATURE, help="where the result goes")
    parser.add_argument(
        "--further", action="store_true", help="start from the checkpoint instead of from nothing"
    )
    parser.add_argument(
        "--keep-autoencoder", action="store_true", help="take the checkpoint's as it is"
    )
    parser.add_argument("--steps", type=int, default=FLOW_STEPS, help="of the transformer")
    parser.add_argument("--minutes", type=float, help="stop after these; run again to go on")
    return parser.parse_args()


if __name__ == "__main__":
    main()
