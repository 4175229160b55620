"""Text fields of a key with one thing a line: what is wrong is said for each line by its number."""

from collections.abc import Callable
from typing import TypeVar

SHOWN = 50  # characters of a wrong line that its error repeats
MOST_PROBLEMS = 5  # wrong lines that are told one by one

Read = TypeVar("Read")


class WrongLine(ValueError):
    """A line cannot be used. The message says what to write instead."""


def read_each(text: str, read: Callable[[str], Read]) -> tuple[list[Read], list[str]]:
    """(what `read` made of each line, what is wrong). Empty lines are left out.

    Of many wrong lines the first are told, and how many more there are.
    """
    found: list[Read] = []
    problems: list[str] = []
    untold = 0
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            found.append(read(line))
        except WrongLine as problem:
            if len(problems) < MOST_PROBLEMS:
                problems.append(f"Line {number}: {problem}")
            else:
                untold += 1
    if untold:
        problems.append(f"And {untold:,} more line{'' if untold == 1 else 's'} like these.")
    return found, problems


def shown(text: str) -> str:
    """What an error repeats of a wrong line."""
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
