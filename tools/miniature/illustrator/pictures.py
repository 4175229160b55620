"""What can be on a picture: shapes on a color, or a scene. Captions and drawings start here."""

from dataclasses import dataclass

from tools.miniature.illustrator.canvas import STYLES
from tools.miniature.illustrator.outlines import SHAPES
from tools.miniature.illustrator.palette import COLORS
from tools.miniature.illustrator.things import THINGS

TIMES = ("day", "dawn", "sunset", "night")
SETTINGS = ("hills", "mountains", "forest", "sea", "river", "city", "meadow", "underwater")
WEATHERS = ("mist", "rain", "snow")
SKY_THINGS = ("sun", "moon", "stars", "clouds")
PLACES = (
    "center",
    "left",
    "right",
    "top",
    "bottom",
    "top left",
    "top right",
    "bottom left",
    "bottom right",
)
RELATIONS = ("beside", "above")
SIZES = ("small", "medium", "large")
MOST_SUBJECTS = 3


@dataclass(frozen=True, slots=True)
class Shape:
    """A shape and its color; None where the words leave the color open."""

    name: str
    color: str | None = None

    def __post_init__(self) -> None:
        _known("name", self.name, SHAPES)
        _known("color", self.color, (None, *COLORS))


@dataclass(frozen=True, slots=True)
class ShapePicture:
    """One shape in a place, up to five in a row, or one shape with another `relation` it."""

    shape: Shape
    background: str | None = None
    count: int = 1
    place: str = "center"
    size: str = "medium"
    other: Shape | None = None
    relation: str = "beside"
    style: str = "flat"

    def __post_init__(self) -> None:
        _known("background", self.background, (None, *COLORS))
        _known("count", self.count, range(1, 6))
        _known("place", self.place, PLACES)
        _known("size", self.size, SIZES)
        _known("relation", self.relation, RELATIONS)
        _known("style", self.style, STYLES)


@dataclass(frozen=True, slots=True)
class Subject:
    """One to three of a thing; None for its usual color."""

    name: str
    color: str | None = None
    count: int = 1

    def __post_init__(self) -> None:
        _known("name", self.name, THINGS)
        _known("color", self.color, (None, *COLORS))
        _known("count", self.count, range(1, MOST_SUBJECTS + 1))


@dataclass(frozen=True, slots=True)
class Scene:
    """A landscape under a sky, with a subject or two; None where the words leave it open."""

    setting: str | None = None
    time: str | None = None
    weather: str | None = None
    sky: tuple[str, ...] = ()
    subject: Subject | None = None
    other: Subject | None = None
    reflections: bool = False
    style: str = "flat"

    def __post_init__(self) -> None:
        _known("setting", self.setting, (None, *SETTINGS))
        _known("time", self.time, (None, *TIMES))
        _known("weather", self.weather, (None, *WEATHERS))
        for thing in self.sky:
            _known("sky", thing, SKY_THINGS)
        _known("style", self.style, STYLES)

    @property
    def place(self) -> str:
        """The setting, or the subject's usual one."""
        if self.setting is not None:
            return self.setting
        usual = {"fish": "underwater", "boat": "sea", "flower": "meadow"}
        if self.subject is not None:
            return usual.get(self.subject.name, "hills")
        return "sea" if self.time == "sunset" else "hills"

    @property
    def hour(self) -> str:
        """The time of day, or what the sky's things ask for."""
        if self.time is not None:
            return self.time
        return "night" if {"moon", "stars"} & set(self.sky) else "day"


Picture = ShapePicture | Scene


def _known(field: str, value: object, choices: object) -> None:
    if value not in choices:  # type: ignore[operator]
        message = f"{field} is {value!r}: choose one of {', '.join(map(str, choices))}."  # type: ignore[call-overload]
        raise ValueError(message)
