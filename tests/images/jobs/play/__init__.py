"""The verbs of a play with jobs and money, in any order, and what must hold after each: `test_invariants`."""

import pytest

# Without it a failed assert in these would not show its two sides, as it does in a test's own module.
ROOMS = ("books", "callers", "clocks", "ground", "office", "workers")
pytest.register_assert_rewrite(*(f"{__name__}.{room}" for room in ROOMS))
