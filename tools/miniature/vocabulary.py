"""The words and characters that the miniature's tokenizers know as one piece."""

WORDS = """
a above an and are as at background before behind below beside between big bottom by center down during far few for from four five front full half
high highly huge in inside into is it its left lots large little low lower many middle near next no of off on one onto or other
out over right seven side six some ten the their three through to top toward two under up upper
very with without 2 3 4 5

amber aqua azure beige black blue bronze brown colorful colour color coral crimson cyan dark deep
emerald gold golden gray green grey indigo ivory lavender light lilac lime magenta maroon mint navy
ochre olive orange pale peach pink purple red rose ruby rust sapphire scarlet silver teal turquoise
vibrant violet vivid white yellow

arc ball band blob box circle cloud column cone corner cross crescent cube curve diamond disc dome
dot ellipse grid heart hexagon line loop moon oval pattern pentagon pyramid rectangle ring round
shape sphere spiral square star stripe stripes triangle wave waves
boxes circles crosses diamonds discs dots hearts loop loops plus pluses pyramids rings squares
triangles

autumn bay beach bridge building canyon castle cave city cityscape cliff clouds coast cottage
countryside dawn day desert door dunes dusk earth evening fall farm field fire flame flower flowers
fog foggy forest galaxy garden glow grass ground harbor hill hills hot house houses ice island
jungle lake lamp landscape lantern leaf leaves light lighthouse lightning meadow mist misty
moonlight morning mountain mountains neon night ocean outdoors palm path pier pine planet pond rain
rainbow rainy reflection reflections river road rock rocks roof sand scene sea shadow shadows shore
sky skyline skyscraper snow snowy space spring star stars stone storm stormy street starry summer sun
sunlight sunny sunrise sunset temple tower town trail tree trees tunnel valley village volcano water
waterfall wave wet wild wind winding window windows winter woods
calm cloudy cottages daylight early falling lights rolling towers underwater

animal astronaut bear bee bicycle bird birds boat book bottle bowl boy butterfly cactus cake camel
candle car cat chair child clock coffee computer cow crab crow cup deer dog dolphin dragon duck
eagle elephant eye face fish flag fox frog girl goat guitar hat hare horse insect key king kitten
knight lion man monkey monster mouse mushroom octopus owl panda parrot penguin person piano pirate
portrait puppy queen rabbit raven robot rocket rooster sailboat shark sheep ship snail snake spider
squirrel swan table tea tiger train truck turtle umbrella unicorn whale wizard wolf woman
boats cats foxes kittens sailboats ships

abstract acrylic anime art artwork bokeh bold bright cartoon centered cheerful cinematic
clean close collage contrast cozy crayon cute cyberpunk depth detailed digital doodle dramatic
dreamy drawing dynamic elegant epic fantasy film flat futuristic geometric gentle gouache gradient
graphic grainy icon illustration image impressionist ink isometric lighting line logo magical
minimal minimalist modern moody mosaic oil old origami paint painting paper pastel pencil photo
photograph photography picture pixel playful poster print quiet realistic render retro rough serene
sharp silhouette simple sketch small smooth soft still style stylized surreal symmetrical texture
tiny tall vintage wallpaper warm watercolor watercolour wide wooden
4k 8-bit beautiful best children's lines masterpiece pixels pretty quality showing sign trending
""".split()  # noqa: SIM905 - a list of one word a line would fill ten pages
"""English words of everyday prompts, in lower case; some occur in two groups."""

ENDINGS = ["s", "es", "ed", "er", "est", "ing", "ly", "y", "ish", "ness", "ful", "less", "ion"]
"""Pieces that words outside the list are often finished with."""


def _characters(*ranges: tuple[int, int]) -> list[str]:
    return [chr(point) for first, last in ranges for point in range(first, last + 1)]


CHARACTERS = _characters(
    (0x21, 0x7E),  # ASCII
    (0xA1, 0x24F),  # Latin with marks
    (0x300, 0x36F),  # combining marks
    (0x370, 0x3FF),  # Greek
    (0x400, 0x4FF),  # Cyrillic
    (0x531, 0x58A),  # Armenian
    (0x5D0, 0x5EA),  # Hebrew
    (0x620, 0x669),  # Arabic
    (0x904, 0x96F),  # Devanagari
    (0xE01, 0xE5B),  # Thai
    (0x10D0, 0x10FF),  # Georgian
    (0x1E00, 0x1EFF),  # Latin with two marks, Vietnamese among it
    (0x2010, 0x2044),  # dashes, quotes, dots
    (0x20A0, 0x20BF),  # currencies
    (0x2190, 0x21FF),  # arrows
    (0x2600, 0x27BF),  # symbols
    (0x3001, 0x3020),  # marks of Chinese and Japanese
    (0x3041, 0x30FF),  # kana
    (0x1F300, 0x1F64F),  # emoji
    (0x1F680, 0x1F6FF),
    (0x1F900, 0x1F9FF),
)
"""Characters with a piece of their own for T5. CLIP needs none: it reads bytes."""


def words() -> list[str]:
    """Each word once, in a fixed order."""
    return list(dict.fromkeys(WORDS))
