"""Whether a prompt says anything: one of invisible characters alone would be charged and mean nothing."""

import unicodedata

# Control and format characters, white space, and marks that need a letter to stand on (variation selectors too).
INVISIBLE_CATEGORIES = {"Cc", "Cf", "Zs", "Zl", "Zp", "Mn", "Me"}
# Letters and symbols that show nothing: the fillers of Hangul, the blank of Braille, the null notehead.
BLANKS = set("\u115f\u1160\u3164\uffa0\u2800\U0001d159")
# Not assigned, and never to be shown: Unicode's Default_Ignorable_Code_Point.
RESERVED = {"\u2065", *map(chr, range(0xFFF0, 0xFFF9)), *map(chr, range(0xE0000, 0xE1000))}
# Format characters that show something: signs that stand before the digits of a number.
SHOWN = set(
    "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"
)


def is_empty(prompt: str) -> bool:
    """Whether no character of the prompt shows anything."""
    return not any(map(_is_visible, prompt))


def _is_visible(character: str) -> bool:
    if character in SHOWN:
        return True
    invisible = unicodedata.category(character) in INVISIBLE_CATEGORIES
    return not (invisible or character in BLANKS or character in RESERVED)
