"""The examination: a checker that sees what is there, and questions nobody has practiced."""

from itertools import product

import numpy as np
import pytest

from tools.miniature.evaluation.checker import look, nearest_color
from tools.miniature.evaluation.examination import Marks, mark, questions
from tools.miniature.illustrator.drawing import draw
from tools.miniature.illustrator.layout import NUMBERS, Layout
from tools.miniature.illustrator.palette import COLORS, PAPER, RGB
from tools.miniature.illustrator.pictures import Shape, ShapePicture
from tools.miniature.illustrator.sampling import is_held_out


@pytest.fixture(scope="module")
def drawn() -> list[np.ndarray]:
    """The illustrator's answers to the first hundred questions."""
    rng = np.random.default_rng(6)
    return [
        draw(picture, Layout.of(rng.random(NUMBERS)), width=512, height=512)
        for picture in questions()[:100]
    ]


def test_the_checker_sees_what_the_illustrator_drew(drawn: list[np.ndarray]) -> None:
    marks = mark(questions()[:100], [look(pixels) for pixels in drawn])
    assert min(marks.background, marks.color, marks.shape, marks.count, marks.place) >= 0.99


def test_the_checker_is_not_kind_to_wrong_answers(drawn: list[np.ndarray]) -> None:
    asked = questions()[:100]
    marks = mark([*asked[7:], *asked[:7]], [look(pixels) for pixels in drawn])
    assert max(marks.background, marks.color, marks.shape) <= 0.4


def test_a_picture_without_shapes_has_none() -> None:
    plain = np.full((128, 128, 3), COLORS["teal"], dtype=np.uint8)
    finding = look(plain)
    assert (finding.background, finding.shape, finding.count) == ("teal", None, 0)


@pytest.mark.parametrize(("name", "color"), [*COLORS.items(), (None, PAPER)])
def test_a_color_a_little_off_keeps_its_name(name: str | None, color: RGB) -> None:
    for signs in product((-1, 1), repeat=3):
        assert nearest_color(np.array(color) + 12.0 * np.array(signs)) == name


def test_a_smear_is_no_shape() -> None:
    pixels = np.full((128, 128, 3), COLORS["white"], dtype=np.uint8)
    pixels[60:64, 10:118] = COLORS["red"]
    assert (look(pixels).color, look(pixels).shape) == ("red", None)


def test_one_wrong_answer_of_two_is_a_half() -> None:
    asked = [ShapePicture(Shape("circle", color), "white") for color in ("red", "blue")]
    layout = Layout.of(np.full(NUMBERS, 0.5))
    found = [look(draw(picture, layout, width=128, height=128)) for picture in asked]
    assert mark(asked, found) == Marks(1, 1, 1, 1, 1, 1)
    assert mark(asked, [found[0], found[0]]) == Marks(1, 0.5, 1, 1, 1, 0.5)


def test_all_questions_differ_and_none_was_practiced() -> None:
    asked = questions()
    assert len(set(asked)) == 400
    for picture in asked:
        assert picture.shape.color and picture.background
        assert is_held_out(picture.shape.name, picture.shape.color, picture.background)
