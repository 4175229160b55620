"""`python -m tools.miniature.evaluation`: marks for 400 pictures nobody taught it, and sheets."""

import argparse
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, fields
from itertools import cycle
from pathlib import Path

import numpy as np
from PIL import Image

from inference.checkpoints import MINIATURE
from inference.engines.flux import FluxEngine
from tools.miniature.evaluation import contact_sheet
from tools.miniature.evaluation.checker import look
from tools.miniature.evaluation.examination import (
    AMONG_STRANGERS,
    QUESTIONS,
    Marks,
    mark,
    questions,
)
from tools.miniature.illustrator.captions import plain
from tools.miniature.illustrator.drawing import draw
from tools.miniature.illustrator.layout import NUMBERS, Layout

SIZE = (512, 512)
OTHER_SIZES = ((768, 768), (1024, 768), (768, 1024), (1024, 1024))
QUESTIONS_OF_OTHER_SIZES = 120
SEED = 5


def main() -> None:
    """Print how well the checker sees, how well the miniature draws, and how fast; keep the sheets."""
    arguments = _arguments()
    engine = FluxEngine(str(arguments.checkpoint))
    started = time.perf_counter()
    engine.load()
    loading = time.perf_counter() - started
    megabytes = sum(p.stat().st_size for p in arguments.checkpoint.rglob("*") if p.is_file()) / 1e6
    print(f"{engine.fingerprint}\n{megabytes:.1f} MB, loaded in {loading:.2f} s\n")
    names = [field.name for field in fields(Marks)]
    print(f"| of the pictures, in % | {' | '.join(names)} |\n|---|{'---:|' * len(names)}")
    asked = questions(arguments.questions)
    _print("the checker on the illustrator's own", *_checker(shuffled=False, count=len(asked)))
    _print("the checker, captions shuffled", *_checker(shuffled=True, count=len(asked)))
    _print(f"{SIZE[0]}x{SIZE[1]}", *_examine(engine, SIZE, len(asked)))
    count = min(len(asked), QUESTIONS_OF_OTHER_SIZES)
    strange = _examine(engine, SIZE, count, forms=AMONG_STRANGERS)
    _print(f"{SIZE[0]}x{SIZE[1]}, among strange words", *strange)
    for size in OTHER_SIZES:
        _print(f"{size[0]}x{size[1]}", *_examine(engine, size, count))
    if arguments.sheets is not None:
        _draw_sheets(engine, arguments.sheets)


def _checker(*, shuffled: bool, count: int) -> tuple[Marks, int, float | None]:
    asked = questions(count)
    rng = np.random.default_rng(SEED)
    found = [
        look(draw(picture, Layout.of(rng.random(NUMBERS)), width=SIZE[0], height=SIZE[1]))
        for picture in asked
    ]
    if shuffled:
        asked = [asked[number] for number in rng.permutation(len(asked))]
    return mark(asked, found), count, None


def _examine(
    engine: FluxEngine, size: tuple[int, int], count: int, *, forms: Sequence[str] = ("{}",)
) -> tuple[Marks, int, float | None]:
    asked = questions(count)
    started = time.perf_counter()
    drawings = [
        engine.draw(form.format(plain(picture)), width=size[0], height=size[1], seed=seed).pixels
        for seed, (picture, form) in enumerate(zip(asked, cycle(forms), strict=False))
    ]
    seconds = (time.perf_counter() - started) / count
    return mark(asked, [look(pixels) for pixels in drawings]), count, seconds


def _print(name: str, marks: Marks, count: int, seconds: float | None) -> None:
    pace = "" if seconds is None else f", {seconds:.2f} s each"
    shares = " | ".join(f"{100 * share:.1f}" for share in asdict(marks).values())
    print(f"| {name} ({count}{pace}) | {shares} |", flush=True)


def _draw_sheets(engine: FluxEngine, folder: Path) -> None:
    contact_sheet.draw(engine, folder / "miniature.png")
    for prompt, name in zip(contact_sheet.PROMPTS[:2], ("fox", "city"), strict=True):
        for size in ((1024, 1024), (768, 1024)):
            pixels = engine.draw(prompt, width=size[0], height=size[1], seed=1).pixels
            file = folder / f"miniature-{name}-{size[0]}x{size[1]}.png"
            Image.fromarray(pixels).save(file, optimize=True)
    print(f"\nSheets are in {os.path.relpath(folder)}.")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=MINIATURE)
    parser.add_argument("--questions", type=int, default=QUESTIONS, help="how many to ask")
    parser.add_argument("--sheets", type=Path, help="a folder for contact sheets")
    return parser.parse_args()


if __name__ == "__main__":
    main()
