"""The illustrator: words and layout give the picture whole, and no combination kept back gets out."""

from dataclasses import replace

import numpy as np
import pytest

from tools.miniature.evaluation.checker import look
from tools.miniature.illustrator import drawing
from tools.miniature.illustrator.canvas import STYLES, Canvas
from tools.miniature.illustrator.drawing import draw
from tools.miniature.illustrator.layout import NUMBERS, Layout
from tools.miniature.illustrator.palette import COLORS, PAPER
from tools.miniature.illustrator.pictures import (
    SETTINGS,
    TIMES,
    WEATHERS,
    Picture,
    Scene,
    Shape,
    ShapePicture,
    Subject,
)
from tools.miniature.illustrator.sampling import SUBJECT_SHARES, invent, is_held_out

MIDDLE = Layout.of(np.full(NUMBERS, 0.5))
OTHER = Layout.of(np.linspace(0.05, 0.95, NUMBERS))
CIRCLE = ShapePicture(Shape("circle", "red"), "blue")


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(
    "picture", [CIRCLE, Scene("forest", weather="mist", subject=Subject("fox"))]
)
def test_the_same_words_and_layout_give_the_same_pixels_in_every_style(
    picture: Picture, style: str
) -> None:
    fields = {name: getattr(picture, name) for name in picture.__dataclass_fields__}
    styled = type(picture)(**{**fields, "style": style})
    first, again = (draw(styled, MIDDLE, width=192, height=128) for _ in range(2))
    assert first.shape == (128, 192, 3)
    assert (first == again).all()
    assert (first != draw(styled, OTHER, width=192, height=128)).any()


def test_a_layout_moves_a_shape_by_whole_tokens_and_no_less() -> None:
    def drawn(across: float) -> np.ndarray:
        numbers = np.full(NUMBERS, 0.5)
        numbers[0] = across
        return draw(CIRCLE, Layout.of(numbers), width=512, height=512)

    assert (drawn(0.01) == drawn(0.3)).all()
    for across, move in ((0.2, -64), (0.99, 64), (1.0, 64)):
        differing = np.roll(drawn(0.5), move, axis=1) != drawn(across)
        assert differing.mean() < 1e-4  # roundings at the edge


@pytest.mark.parametrize(
    ("picture", "across", "down"),
    [
        (ShapePicture(Shape("star")), True, True),
        (ShapePicture(Shape("star"), place="left"), False, True),
        (ShapePicture(Shape("star"), place="top"), True, False),
        (ShapePicture(Shape("star"), place="bottom right"), False, False),
        (ShapePicture(Shape("star"), count=3), False, True),
        (ShapePicture(Shape("star"), other=Shape("ring"), relation="above"), True, False),
        (ShapePicture(Shape("star"), other=Shape("ring"), relation="beside"), False, True),
        (Scene("hills", subject=Subject("cat")), True, False),
        (Scene("hills", subject=Subject("cat", count=2)), False, False),
        (Scene(subject=Subject("fish")), True, True),
    ],
)
def test_the_layout_moves_what_the_words_leave_open(
    picture: Picture,
    across: bool,  # noqa: FBT001 - a parameter of the test
    down: bool,  # noqa: FBT001
) -> None:
    anchor = drawing.anchor(picture)
    assert (anchor.across, anchor.down) == (across, down)
    canvas = Canvas(1024, 512, "flat")
    assert anchor.on(canvas, MIDDLE) == (2 * anchor.x, anchor.y)
    x, y = anchor.on(canvas, replace(MIDDLE, across=1, down=-1))
    assert (x - 2 * anchor.x, anchor.y - y) == (across / 8, down / 8)


@pytest.mark.parametrize("count", [2, 3, 4, 5])
@pytest.mark.parametrize("size", [512, 768, 1024])
def test_rows_keep_within_the_picture_and_apart(count: int, size: int) -> None:
    row = ShapePicture(Shape("triangle", "red"), "blue", count=count)
    finding = look(draw(row, MIDDLE, width=size, height=size))
    assert (finding.count, finding.shape) == (count, "triangle")


def test_the_ground_behind_a_shape_gets_darker_and_lighter() -> None:
    grounds = [
        draw(CIRCLE, replace(MIDDLE, mood=mood), width=128, height=128)[0, 0].sum()
        for mood in (-1, 0, 1)
    ]
    assert grounds == sorted(set(grounds))
    assert grounds[1] == sum(COLORS["blue"])


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("weather", [None, *WEATHERS])
def test_every_setting_looks_different_at_every_hour(setting: str, weather: str | None) -> None:
    pictures = [
        draw(Scene(setting, hour, weather), MIDDLE, width=128, height=128).tobytes()
        for hour in TIMES
    ]
    assert len(set(pictures)) == len(TIMES)


@pytest.mark.parametrize("setting", ["hills", "mountains", "forest", "meadow"])
def test_the_seed_moves_no_landscape_from_side_to_side(setting: str) -> None:
    known = draw(Scene(setting), MIDDLE, width=512, height=512)
    for step in (-1, 1):
        seen = draw(Scene(setting), replace(MIDDLE, waves=step), width=512, height=512)
        assert (seen == known).all()


def test_pines_repeat_after_two_tokens() -> None:
    forest = draw(Scene("forest"), MIDDLE, width=512, height=512)
    assert (forest[:, :-128] == forest[:, 128:]).all()
    assert (forest[:, :-64] != forest[:, 64:]).any()


@pytest.mark.parametrize("name", SUBJECT_SHARES)
def test_every_subject_stands_on_the_picture_in_its_color(name: str) -> None:
    scene = Scene("meadow", subject=Subject(name, "purple"))
    with_it = draw(scene, MIDDLE, width=256, height=256)
    without = draw(Scene("meadow"), MIDDLE, width=256, height=256)
    assert 0.02 < (with_it != without).any(2).mean() < 0.4
    assert (with_it == COLORS["purple"]).all(2).any()


def changed(scene: Scene, *, width: int, height: int) -> tuple[np.ndarray, tuple[int, int]]:
    """The pixels that differ where the scene's subject is, cut out, and where they begin."""
    empty = replace(scene, subject=None, other=None, setting=scene.place)
    size = {"width": width, "height": height}
    with_it, without = draw(scene, MIDDLE, **size), draw(empty, MIDDLE, **size)
    rows, columns = np.nonzero((with_it != without).any(2))
    box = slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)
    return with_it[box], (box[0].start, box[1].start)


@pytest.mark.parametrize("size", [(1024, 768), (768, 1024), (1024, 1024)])
def test_things_keep_their_pixels_from_768_on_and_stay_at_the_corners_of_tokens(
    size: tuple[int, int],
) -> None:
    scene = Scene("meadow", subject=Subject("boat"))
    seen, at = changed(scene, width=size[0], height=size[1])
    known, there = changed(scene, width=768, height=768)
    assert seen.shape == known.shape
    assert all((here - known_at) % 64 == 0 for here, known_at in zip(at, there, strict=True))


def test_one_of_a_group_at_768_is_as_large_as_one_alone_at_512() -> None:
    alone, _ = changed(Scene("meadow", subject=Subject("cat")), width=512, height=512)
    two, _ = changed(Scene("meadow", subject=Subject("cat", count=2)), width=768, height=768)
    assert two.shape == (alone.shape[0], alone.shape[1] + 384, 3)


@pytest.mark.parametrize("name", ["bird", "fish", "house"])
def test_three_of_a_kind_form_a_triangle(name: str) -> None:
    three, _ = changed(Scene(subject=Subject(name, "red", 3)), width=512, height=512)
    two, _ = changed(Scene(subject=Subject(name, "red", 2)), width=512, height=512)
    assert three.shape[0] >= two.shape[0] + 64
    assert three.shape[1] == two.shape[1]


@pytest.mark.parametrize("weather", ["rain", "snow"])
def test_weather_falls_behind_the_subject(weather: str) -> None:
    scene = Scene("hills", subject=Subject("cat", "purple"))
    dry = (draw(scene, MIDDLE, width=512, height=512) == COLORS["purple"]).all(2)
    wet = (draw(replace(scene, weather=weather), MIDDLE, width=512, height=512)[dry]).reshape(-1, 3)
    assert dry.any()
    assert (wet == COLORS["purple"]).all()


@pytest.mark.parametrize("weather", ["rain", "snow"])
@pytest.mark.parametrize(("width", "height"), [(512, 512), (1024, 768)])
def test_no_weather_is_the_checkerboard_that_hides_layouts(
    weather: str, width: int, height: int
) -> None:
    dry, wet = (
        draw(Scene(weather=fallen), MIDDLE, width=width, height=height).astype(float)
        for fallen in (None, weather)
    )
    drops = np.abs(wet - dry).mean(2)
    fallen = drops.reshape(height // 32, 32, width // 32, 32).mean((1, 3))
    rows, columns = np.indices(fallen.shape)
    assert fallen.max() > 1
    assert abs((fallen * (-1) ** (rows + columns)).sum()) < 0.1 * fallen.sum()


def test_what_the_words_leave_open_gets_the_usual_color() -> None:
    heart = draw(ShapePicture(Shape("heart")), MIDDLE, width=128, height=128)
    assert tuple(heart[0, 0]) == PAPER
    assert tuple(heart[64, 64]) == COLORS["red"]
    assert drawing.shape_color("heart", None, "red") == "black"


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: Shape("blob"), "name is 'blob'.*circle"),
        (lambda: Shape("circle", "mauve"), "color is 'mauve'.*red"),
        (lambda: ShapePicture(Shape("circle"), count=9), "count is 9"),
        (lambda: Scene("moon base"), "setting is 'moon base'.*hills"),
        (lambda: Subject("dragon"), "name is 'dragon'.*fox"),
        (lambda: Scene(style="oil"), "style is 'oil'.*flat"),
    ],
)
def test_what_it_cannot_draw_is_named_with_what_it_can(make: object, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        make()  # type: ignore[operator]


def test_no_picture_to_learn_from_has_a_combination_that_is_held_out() -> None:
    rng = np.random.default_rng(1)
    pictures = [picture for _ in range(4000) if isinstance(picture := invent(rng), ShapePicture)]
    assert len(pictures) > 1000
    for picture in pictures:
        for shape in filter(None, (picture.shape, picture.other)):
            color = drawing.shape_color(shape.name, shape.color, picture.background)
            assert picture.background is None or not is_held_out(
                shape.name, color, picture.background
            )


def test_about_an_eighth_of_all_combinations_is_held_out() -> None:
    names = [(shape, a, b) for shape in drawing.USUAL_COLORS for a in COLORS for b in COLORS]
    assert 0.09 < np.mean([is_held_out(*three) for three in names]) < 0.16
