"""What stands where in the transformer's stream of 128 dimensions when training begins."""

from inference.miniature.illustrator.layout import NUMBERS, Layout
from inference.miniature.parts import WIDTH

ANSWER = 4 * NUMBERS
"""The first dimensions hold the token itself and gather the answer; its first sixteen are the
patterns of `coupling`."""
LAYOUT = slice(ANSWER, ANSWER + len(Layout.__dataclass_fields__))
COUNT, ROW, COLUMN, MEAN_ROW, MEAN_COLUMN = range(LAYOUT.stop, LAYOUT.stop + 5)
"""How many tokens there are, where this one is, and where the middle is."""
MARKS = 8
"""On each ruler: one for each row or column of 512x512."""
ROW_MARKS, COLUMN_MARKS, MOVED_ROW_MARKS, MOVED_COLUMN_MARKS = (
    range(first, first + MARKS)
    for first in range(MEAN_COLUMN + 1, MEAN_COLUMN + 1 + 4 * MARKS, MARKS)
)
"""How near this token is to each mark: of the picture, and of what stands in it, which the layout moves."""
_PAIRS = MOVED_COLUMN_MARKS.stop
MOVES = ((_PAIRS, _PAIRS + 1), (_PAIRS + 2, _PAIRS + 3))
"""How far the layout moves things down, and across, in the measure of `ROW` and `COLUMN`. Each stands
there halved, and once more with the other sign: their difference loses nothing to normalisations."""
GAPS = ((_PAIRS + 4, _PAIRS + 5), (_PAIRS + 6, _PAIRS + 7))
"""From a mark to the next, in the same way."""
NOTHING = 125
"""Always 0: what a normalisation makes of it is what it took off everything."""
BALLAST = (126, 127)
"""Always the same, and heavy: what else is in the stream hardly moves what normalisations divide by."""
WEIGHT = 10.0
SPREAD = ((ANSWER + len(BALLAST) * WEIGHT**2) / WIDTH) ** 0.5
"""What they divide by."""
SCALE_BEFORE_MLP = 4 * WIDTH
"""Where the modulation of a double block keeps that scale."""
