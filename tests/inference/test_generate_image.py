"""`generate_image`: a picture and its figures, or what to do instead."""

from io import BytesIO, StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from PIL import Image
from pytest_django import Settings


@pytest.fixture
def blank(settings: Settings) -> None:
    """The command draws with the blank engine."""
    settings.INFERENCE_ENGINE, settings.BLANK_ENGINE_SECONDS = "blank", 0


def generate(*arguments: str) -> str:
    answer = StringIO()
    call_command("generate_image", *arguments, stdout=answer)
    return answer.getvalue()


def test_it_draws_the_picture_and_says_what_each_part_took(
    settings: Settings, checkpoint_folder: Path, tmp_path: Path
) -> None:
    settings.INFERENCE_ENGINE, settings.FLUX_MODEL = "flux", str(checkpoint_folder)
    out = tmp_path / "fox.png"
    answer = generate("a fox", "--size", "768x1024", "--seed", "1", "--out", str(out))
    assert Image.open(BytesIO(out.read_bytes())).size == (768, 1024)
    for part in ["Loaded in", "Step 1 of 4", "Step 4 of 4", "Drawn in", "encoded in"]:
        assert part in answer
    assert f"{out}: {out.stat().st_size:,} bytes, drawn by flux-miniature" in answer


@pytest.mark.usefixtures("blank")
def test_the_default_is_1024_by_1024(tmp_path: Path) -> None:
    generate("a fox", "--out", str(tmp_path / "fox.png"))
    assert Image.open(BytesIO((tmp_path / "fox.png").read_bytes())).size == (1024, 1024)


@pytest.mark.usefixtures("blank")
@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["  "], "argument prompt.*say what to draw"),
        (["fox", "--size", "1024X1024"], "argument --size.*choose one of 512x512"),
        (["fox", "--seed", "-1"], "argument --seed.*0 to 4294967295"),
        (["fox", "--seed", "4294967296"], "argument --seed.*0 to 4294967295"),
        (["fox", "--seed", "1" * 5000], "argument --seed.*0 to 4294967295"),
        (["fox", "--seed", "²"], "argument --seed.*0 to 4294967295"),
        (["fox", "--out", "/nowhere/fox.png"], "argument --out.*name a file"),
        (["fox", "--out", "/"], "argument --out.*name a file"),
    ],
)
def test_a_bad_argument_is_named_with_what_to_do(arguments: list[str], complaint: str) -> None:
    with pytest.raises(CommandError, match=complaint):
        generate(*arguments)


def test_an_engine_that_cannot_load_says_what_to_do(settings: Settings, tmp_path: Path) -> None:
    settings.INFERENCE_ENGINE, settings.FLUX_MODEL = "flux", str(tmp_path / "gone")
    with pytest.raises(CommandError, match="FLUX_MODEL"):
        generate("fox", "--out", str(tmp_path / "fox.png"))
