"""Networks of a key as people write them: what is wrong with many lines is told shortly."""

from accounts.forms import KeyForm
from accounts.keys import lines, networks
from accounts.keys.fields import NETWORKS_TEXT_LIMIT
from tests.cast import Person


def test_the_first_wrong_lines_are_told_and_how_many_more_there_are() -> None:
    found, problems = networks.parse_lines("203.0.113.7\n" + "wrong\n" * 4_315)
    assert found == ["203.0.113.7/32"]
    assert len(problems) == lines.MOST_PROBLEMS + 1
    assert problems[0].startswith("Line 2: “wrong”")
    assert problems[-1] == "And 4,310 more lines like these."


def test_each_of_a_few_wrong_lines_is_told() -> None:
    _, problems = networks.parse_lines("wrong\n" * lines.MOST_PROBLEMS)
    assert [problem.partition(":")[0] for problem in problems] == [
        f"Line {number}" for number in range(1, lines.MOST_PROBLEMS + 1)
    ]


def test_a_text_that_is_too_long_is_not_looked_at(alice: Person) -> None:
    form = KeyForm(
        {"name": "Laptop", "allowed_networks": "x\n" * NETWORKS_TEXT_LIMIT},
        organization=alice.organization,
    )
    assert list(form.errors) == ["allowed_networks"]
    [error] = form.errors["allowed_networks"]
    assert "10,000" in error or "10000" in error
    assert "maxlength" not in str(form["allowed_networks"])
