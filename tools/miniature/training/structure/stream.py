"""What stands where in the transformer's stream of 128 dimensions when training begins."""

from tools.miniature.illustrator.layout import NUMBERS, Layout
from tools.miniature.parts import WIDTH

ANSWER = 4 * NUMBERS
"""The first dimensions hold the token itself and gather the answer; its first sixteen are the
patterns of `coupling`."""
LAYOUT = slice(ANSWER, ANSWER + len(Layout.__dataclass_fields__))
"""What the layout says: found by the first block's attention, made -1, 0 or 1 by its MLP."""
COUNT, ROW_SHARE, COLUMN_SHARE, ROW, COLUMN, MEAN_ROW, MEAN_COLUMN = range(
    LAYOUT.stop, LAYOUT.stop + 7
)
"""How many tokens there are; two shares of attention that grow from row to row and from column to
column; what the MLP makes of them: row and column; and, from the
second block on, their means."""
MIDDLE, MEASURE = 7.5, 8.0
"""Row r stands there as (r - MIDDLE) / MEASURE."""
_PAIRS = MEAN_COLUMN + 1
MOVES = ((_PAIRS, _PAIRS + 1), (_PAIRS + 2, _PAIRS + 3))
"""How far the layout moves things down, and across. Each stands there halved, and once more with the
other sign: their difference loses nothing to normalizations."""
EIGHTHS = ((_PAIRS + 4, _PAIRS + 5), (_PAIRS + 6, _PAIRS + 7))
"""An eighth of the height, and of the width, in the same way."""
MARKS, NEAR_MARKS = 8, 10
_RULERS = EIGHTHS[1][1] + 1
ROW_MARKS = range(_RULERS, _RULERS + MARKS)
COLUMN_MARKS = range(ROW_MARKS.stop, ROW_MARKS.stop + MARKS)
"""How near the token is to each of eight marks down and across the picture."""
NEAR_ROW_MARKS = range(COLUMN_MARKS.stop, COLUMN_MARKS.stop + NEAR_MARKS)
NEAR_COLUMN_MARKS = range(NEAR_ROW_MARKS.stop, NEAR_ROW_MARKS.stop + NEAR_MARKS)
"""The same, for marks a token apart around what the picture is of, the first 4.5 before its middle."""
NOTHING = 125
"""Always 0: what a normalization makes of it is what it took off everything."""
BALLAST = (126, 127)
"""Always the same, and heavy: what else is in the stream hardly moves what normalizations divide by."""
READ = (*range(LAYOUT.start, ROW_MARKS.start), NOTHING, *BALLAST)
"""What the built units of the first two blocks read: nothing else is written there before they have."""
WEIGHT = 16.0
SPREAD = ((ANSWER + len(BALLAST) * WEIGHT**2) / WIDTH) ** 0.5
"""What they divide by."""
SCALE_BEFORE_MLP = 4 * WIDTH
"""Where the modulation of a double block keeps that scale."""
