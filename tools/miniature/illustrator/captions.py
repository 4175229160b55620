"""Says what is on a picture, in the many ways people write prompts."""

import numpy as np

from tools.miniature import vocabulary
from tools.miniature.illustrator.palette import COLORS, OTHER_NAMES
from tools.miniature.illustrator.pictures import (
    MOST_SUBJECTS,
    Picture,
    Scene,
    Shape,
    ShapePicture,
    Subject,
)

NUMBERS = {1: ("a", "one"), 2: ("two", "2"), 3: ("three", "3"), 4: ("four", "4"), 5: ("five", "5")}
SYNONYM_SHARE = 0.12

SHAPE_NAMES = {
    "circle": ("circle", "circle", "disc", "dot"),
    "square": ("square", "square", "box"),
    "triangle": ("triangle", "triangle", "triangle", "pyramid"),
    "star": ("star",),
    "heart": ("heart",),
    "diamond": ("diamond",),
    "ring": ("ring", "ring", "ring", "loop"),
    "cross": ("cross", "cross", "cross", "plus"),
}
PLURALS = {"cross": "crosses", "box": "boxes", "plus": "pluses", "fox": "foxes", "fish": "fish"}
PLACES = {
    "center": ("in the center", "in the middle", "centered"),
    "left": ("on the left", "at the left", "on the left side"),
    "right": ("on the right", "at the right", "on the right side"),
    "top": ("at the top", "near the top"),
    "bottom": ("at the bottom", "near the bottom"),
    "top left": ("in the top left corner", "at the top left", "in the upper left corner"),
    "top right": ("in the top right corner", "at the top right", "in the upper right corner"),
    "bottom left": ("in the bottom left corner", "at the bottom left", "in the lower left corner"),
    "bottom right": (
        "in the bottom right corner",
        "at the bottom right",
        "in the lower right corner",
    ),
}
SIZES = {"small": ("small", "tiny", "little"), "medium": ("",), "large": ("large", "big", "huge")}

STYLES_BEFORE = {
    "flat": (
        "an illustration of",
        "a picture of",
        "a flat illustration of",
        "a drawing of",
        "flat art of",
    ),
    "watercolor": (
        "a watercolor painting of",
        "a watercolor of",
        "watercolor painting of",
        "a soft watercolor of",
    ),
    "pixel art": ("pixel art of", "a pixel art picture of", "pixel art showing"),
    "line drawing": (
        "a line drawing of",
        "line art of",
        "a simple line drawing of",
        "a pencil sketch of",
    ),
    "neon": ("a neon picture of", "neon art of", "a neon sign of", "a cyberpunk picture of"),
}
STYLES_AFTER = {
    "flat": ("flat style", "flat illustration", "minimalist", "clean and simple"),
    "watercolor": ("watercolor", "watercolor style", "in watercolor", "watercolour"),
    "pixel art": ("pixel art", "in pixel art style", "8-bit pixels"),
    "line drawing": ("line drawing", "line art", "ink lines", "black and white sketch"),
    "neon": ("neon", "neon glow", "neon lights", "cyberpunk"),
}
STYLES_AS_WORD = {"watercolor": "watercolor", "pixel art": "pixel art", "neon": "neon"}

SUBJECT_NAMES = {
    "fox": ("fox",),
    "cat": ("cat", "cat", "kitten"),
    "bird": ("bird",),
    "fish": ("fish",),
    "house": ("house", "house", "cottage"),
    "boat": ("boat", "boat", "sailboat", "ship"),
    "flower": ("flower",),
    "tree": ("tree",),
}
SETTINGS = {
    "hills": ("on the hills", "in the hills", "with hills", "green hills"),
    "mountains": ("in the mountains", "with mountains", "by the mountains", "mountains behind"),
    "forest": ("in a forest", "in the forest", "in the woods", "with a forest", "between trees"),
    "sea": ("by the sea", "on the sea", "at the sea", "on the ocean", "at the beach"),
    "river": ("by a river", "by the river", "with a river", "near a river"),
    "city": ("in the city", "in a city", "with a city", "before a city skyline", "in a town"),
    "meadow": ("in a meadow", "in a field of flowers", "in a garden", "on a flower meadow"),
    "underwater": ("underwater", "under water"),
}
SETTINGS_ALONE = {
    "hills": ("hills", "green hills", "a landscape with hills", "rolling hills", "a countryside"),
    "mountains": ("mountains", "a mountain landscape", "snowy mountains", "high mountains"),
    "forest": ("a forest", "a pine forest", "the woods", "a quiet forest", "forest"),
    "sea": ("the sea", "the ocean", "a calm sea", "sea", "waves on the sea"),
    "river": ("a river", "a river in the hills", "a winding river", "river landscape"),
    "city": (
        "a city",
        "a cityscape",
        "a city skyline",
        "a skyline with towers",
        "cityscape",
        "a town",
    ),
    "meadow": ("a meadow", "a field of flowers", "a garden", "a meadow with wild flowers"),
    "underwater": ("underwater", "under water"),
}
TIMES = {
    "day": ("during the day", "by day", "in daylight", "day"),
    "dawn": ("at dawn", "at sunrise", "in the early morning", "dawn"),
    "sunset": ("at sunset", "at dusk", "in the evening", "sunset", "sunset light"),
    "night": ("at night", "by night", "in the night", "night", "night sky"),
}
WEATHERS = {
    "mist": ("in the mist", "in fog", "misty", "foggy", "with mist", "mist"),
    "rain": ("in the rain", "rainy", "on a rainy day", "rain"),
    "snow": ("in the snow", "snowy", "in winter", "with snow", "snow falling"),
}
WEATHER_WORDS = {"mist": ("misty", "foggy"), "rain": ("rainy",), "snow": ("snowy",)}
SKY = {
    "sun": ("the sun", "a bright sun", "sun", "sunny", "a sun in the sky"),
    "moon": ("the moon", "a moon", "moon", "moonlight"),
    "stars": ("stars", "a starry sky", "many stars", "stars in the sky"),
    "clouds": ("clouds", "white clouds", "cloudy sky", "some clouds"),
}
REFLECTIONS = ("reflections", "reflections in the water", "with reflections")
PRAISE = (
    "soft light",
    "highly detailed",
    "beautiful",
    "4k",
    "masterpiece",
    "cute",
    "cheerful",
    "colorful",
    "warm light",
    "trending",
    "high quality",
    "digital art",
    "cozy",
    "very pretty",
    "best quality",
    "photo",
    "cinematic",
    "children's book",
)
NOISE_SHARE = 0.12
"""Of captions that get words which mean nothing here: they must do no harm."""


def caption(picture: Picture, rng: np.random.Generator) -> str:
    """A prompt for `picture`. It names all that the picture's words fix, and nothing else."""
    parts = (
        _of_shapes(picture, rng) if isinstance(picture, ShapePicture) else _of_scene(picture, rng)
    )
    text = _styled(parts, picture.style, rng)
    if rng.random() < 0.25:  # noqa: PLR2004
        text = f"{text}, {_pick(rng, PRAISE)}"
    if rng.random() < NOISE_SHARE:
        text = _with_noise(text, rng)
    if rng.random() < 0.3:  # noqa: PLR2004
        text = text[0].upper() + text[1:]
    if rng.random() < 0.15:  # noqa: PLR2004
        text += "."
    return text


def plain(picture: ShapePicture) -> str:
    """The plainest prompt for `picture`: "two red circles on a blue background"."""
    return _shape_sentence(picture, np.random.default_rng(0), plain=True)


def _of_shapes(picture: ShapePicture, rng: np.random.Generator) -> str:
    return _shape_sentence(picture, rng, plain=False)


def _shape_sentence(picture: ShapePicture, rng: np.random.Generator, *, plain: bool) -> str:
    shape = _shape(picture.shape, picture.count, picture.size, rng, plain=plain)
    if picture.other is not None:
        other = _shape(picture.other, 1, picture.size, rng, plain=plain)
        joins = {
            "beside": (" and ", " beside ", " next to ", " to the left of "),
            "above": (" above ", " over ", " on top of "),
        }[picture.relation]
        shape += (joins[0] if plain else _pick(rng, joins)) + other
    place = ""
    is_alone = picture.other is None and picture.count == 1
    if is_alone and (picture.place != "center" or (not plain and rng.random() < 0.2)):  # noqa: PLR2004
        place = PLACES[picture.place][0] if plain else _pick(rng, PLACES[picture.place])
    if picture.background is None:
        return f"{shape} {place}".strip()
    color = picture.background if plain else _color(picture.background, rng)
    if place and (plain or rng.random() < 0.5):  # noqa: PLR2004
        return (
            f"{shape} {place} of a {color} background"
            if place.startswith(("in", "at"))
            else (f"{shape} {place} on a {color} background")
        )
    grounds = (
        f" on a {color} background",
        f" on {color}",
        f", {color} background",
        f" on a {color} ground",
    )
    ground = grounds[0] if plain or rng.random() < 0.5 else _pick(rng, grounds)  # noqa: PLR2004
    return f"{shape}{ground} {place}".strip()


def _shape(shape: Shape, count: int, size: str, rng: np.random.Generator, *, plain: bool) -> str:
    name = SHAPE_NAMES[shape.name][0] if plain else _pick(rng, SHAPE_NAMES[shape.name])
    number = NUMBERS[count][0] if plain else _number(count, rng)
    color = "" if shape.color is None else shape.color if plain else _color(shape.color, rng)
    adjective = SIZES[size][0] if plain else _pick(rng, SIZES[size])
    return _joined(number, adjective, color, _plural(name, count))


def _of_scene(scene: Scene, rng: np.random.Generator) -> str:
    words: list[str] = []
    weather, time = scene.weather, scene.time
    if scene.subject is not None:
        words.append(_subject(scene.subject, rng))
        if scene.other is not None:
            words[-1] += (
                f"{_pick(rng, (' and ', ' next to ', ' beside '))}{_subject(scene.other, rng)}"
            )
    if scene.setting is not None:
        if scene.subject is None:
            setting = _pick(rng, SETTINGS_ALONE[scene.setting])
        else:
            setting = _pick(rng, SETTINGS[scene.setting])
        if weather is not None and rng.random() < 0.35:  # noqa: PLR2004
            # "in a misty forest"
            article, _, noun = setting.rpartition(" ")
            article = "a" if article == "an" else article
            setting = _joined(article, _pick(rng, WEATHER_WORDS[weather]), noun)
            weather = None
        words.append(setting)
    tail = []
    if time is not None:
        tail.append(_pick(rng, TIMES[time][:3] if words else TIMES[time]))
    if weather is not None:
        tail.append(_pick(rng, WEATHERS[weather]))
    tail += [_pick(rng, SKY[thing]) for thing in scene.sky]
    if scene.reflections:
        tail.append(_pick(rng, REFLECTIONS))
    rng.shuffle(tail)
    return _strung(" ".join(words), tail, rng)


def _strung(text: str, tail: list[str], rng: np.random.Generator) -> str:
    """`text` and the phrases of `tail`, with commas or without."""
    for number, phrase in enumerate(tail):
        is_bound = phrase.startswith(("at ", "in ", "by ", "on ", "with ", "during "))
        glue = " " if text and (is_bound or number == 0) and rng.random() < 0.6 else ", "  # noqa: PLR2004
        if glue == " " and not is_bound and text:
            glue = _pick(rng, (" with ", " and ", ", "))
        text = text + glue + phrase if text else phrase
    return text


def _subject(subject: Subject, rng: np.random.Generator) -> str:
    color = "" if subject.color is None else _color(subject.color, rng)
    name = _pick(rng, SUBJECT_NAMES[subject.name])
    # "pink flowers" are three.
    is_bare = subject.count == MOST_SUBJECTS and rng.random() < 0.4  # noqa: PLR2004
    number = "" if is_bare else _number(subject.count, rng)
    return _joined(number, color, _plural(name, subject.count))


def _styled(text: str, style: str, rng: np.random.Generator) -> str:
    if style == "flat" and rng.random() < 0.7:  # noqa: PLR2004
        return text
    way = rng.random()
    if way < 0.5:  # noqa: PLR2004
        return f"{_pick(rng, STYLES_BEFORE[style])} {text}"
    if way < 0.65 and style in STYLES_AS_WORD and text.startswith("a "):  # noqa: PLR2004
        return f"a {STYLES_AS_WORD[style]} {text[2:]}"
    return f"{text}, {_pick(rng, STYLES_AFTER[style])}"


def _with_noise(text: str, rng: np.random.Generator) -> str:
    words = text.split(" ")
    for _ in range(int(rng.integers(1, 4))):
        if rng.random() < 0.5:  # noqa: PLR2004
            word = str(rng.choice(_meaningless()))
        else:
            word = "".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), int(rng.integers(3, 9))))
        words.insert(int(rng.integers(len(words) + 1)), word)
    return " ".join(words)


_MEANINGLESS: list[str] = []


def _meaningless() -> list[str]:
    """Words of the vocabulary that no caption uses."""
    if not _MEANINGLESS:
        tables = (
            SHAPE_NAMES, PLACES, SIZES, STYLES_BEFORE, STYLES_AFTER, SUBJECT_NAMES, SETTINGS,
            SETTINGS_ALONE, TIMES, WEATHERS, SKY, NUMBERS, OTHER_NAMES, {"": (*COLORS, *REFLECTIONS)},
        )  # fmt: skip
        used = {
            word
            for table in tables
            for phrases in table.values()
            for phrase in phrases
            for word in phrase.split()
        }
        used |= {_plural(word, 2) for word in used}
        _MEANINGLESS.extend(word for word in vocabulary.words() if word not in used)
    return _MEANINGLESS


def _color(name: str, rng: np.random.Generator) -> str:
    others = OTHER_NAMES[name]
    return _pick(rng, others) if others and rng.random() < SYNONYM_SHARE else name


def _number(count: int, rng: np.random.Generator) -> str:
    if count == 1:
        return ("a", "a", "a", "one", "the", "")[rng.integers(6)]
    return NUMBERS[count][0] if rng.random() < 0.8 else NUMBERS[count][1]  # noqa: PLR2004


def _plural(name: str, count: int) -> str:
    return name if count == 1 else PLURALS.get(name, name + "s")


def _joined(*words: str) -> str:
    text = " ".join(word for word in words if word)
    return text.replace("a orange", "an orange").replace("a a", "an a").replace("a em", "an em")


def _pick(rng: np.random.Generator, choices: tuple[str, ...]) -> str:
    return choices[rng.integers(len(choices))]
