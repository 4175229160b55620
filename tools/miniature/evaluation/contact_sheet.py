"""Prompts and what the miniature draws for them, on one picture."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from inference.engines.flux import FluxEngine

PROMPTS = (
    "a watercolor painting of a fox in a misty forest, soft light",
    "a cyberpunk cityscape at sunset, neon reflections",
    "a red circle on a blue background",
    "three yellow stars on a purple background",
    "a green triangle above an orange square on a white background",
    "two cats on the hills, a bright sun",
    "a red boat on the sea at night, the moon",
    "a white house by a river, clouds",
    "pixel art of a bird in the mountains at dawn",
    "a line drawing of a house in a forest",
    "three orange fish",
    "pink flowers in a meadow in the rain",
)
SEEDS = (1, 2, 3)
CAPTION_HEIGHT = 46
GAP = 8
PAPER, INK = (255, 255, 255), (40, 40, 48)


def draw(
    engine: FluxEngine,
    file: Path,
    *,
    prompts: Sequence[str] = PROMPTS,
    seeds: Sequence[int] = SEEDS,
    size: tuple[int, int] = (512, 512),
    shown: int = 192,
    columns: int = 2,
) -> None:
    """Write `file`: a block for each prompt with a picture for each seed, `shown` pixels wide."""
    tall = shown * size[1] // size[0]
    block = (len(seeds) * (shown + GAP), CAPTION_HEIGHT + tall + GAP)
    rows = -(-len(prompts) // columns)
    sheet = Image.new("RGB", (columns * block[0] + GAP, rows * block[1] + GAP), PAPER)
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(15)
    for number, prompt in enumerate(prompts):
        left, top = GAP + number % columns * block[0], GAP + number // columns * block[1]
        pen.multiline_text((left, top + 4), _wrapped(prompt, block[0], font), INK, font)
        for place, seed in enumerate(seeds):
            drawing = engine.draw(prompt, width=size[0], height=size[1], seed=seed)
            picture = Image.fromarray(drawing.pixels).resize(
                (shown, tall), Image.Resampling.LANCZOS
            )
            sheet.paste(picture, (left + place * (shown + GAP), top + CAPTION_HEIGHT))
    file.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(file, optimize=True)


def _wrapped(text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) > width - GAP:
            lines.append(word)
        else:
            lines[-1] = longer
    return "\n".join(lines)
