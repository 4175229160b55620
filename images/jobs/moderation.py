"""Which prompts are refused before anything is reserved, drawn or charged.

The list is the operator's: `MODERATION_TERMS` names a file with one term a line, `#` for comments.
Without one, the short list beside this module holds what no operator may serve.
"""

import re
from functools import cache
from pathlib import Path

from django.conf import settings

from images.jobs.refusals import ContentPolicyViolation

BUILT_IN = Path(__file__).with_name("moderation_terms.txt")


@cache
def forbidden(path: Path) -> re.Pattern[str] | None:
    """One pattern for all terms of the file, whole words, any case; None for an empty file."""
    lines = (line.split("#")[0].strip() for line in path.read_text("utf-8").splitlines())
    terms = [r"\s+".join(map(re.escape, line.split())) for line in lines if line]
    return re.compile(rf"(?<!\w)(?:{'|'.join(terms)})(?!\w)", re.IGNORECASE) if terms else None


def screen(prompt: str) -> None:
    """Let the prompt pass, or refuse it.

    Raises:
        ContentPolicyViolation: it holds a forbidden term.
    """
    pattern = forbidden(Path(settings.MODERATION_TERMS or BUILT_IN))
    if pattern and pattern.search(prompt):
        raise ContentPolicyViolation
