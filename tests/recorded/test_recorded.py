"""What callers see stays the same to the byte: each request of requests.txt is answered as recorded.

After a change that is meant, `python -m pytest tests/recorded --record` records the answers anew; the
difference then shows in the review.
"""

from collections.abc import Iterator
from difflib import unified_diff

import pytest
from django.conf import settings
from django.test import override_settings

from tests.recorded.exchange import FOLDER, Exchange, read_requests
from tests.recorded.situations import LINK, SECRET_KEY, SIGNATURE, SITUATIONS

ANSWERS = FOLDER / "answers"
EXCHANGES = read_requests()
SECTIONS = list(dict.fromkeys(exchange.section for exchange in EXCHANGES))
Answers = dict[str, str]


def read_answers() -> Answers:
    """Every recorded answer, by the name of its exchange."""
    found = {}
    for file in sorted(ANSWERS.glob("*.txt")):
        for block in file.read_text().split("\n\n-- ")[1:]:
            title, _, answer = block.partition("\n")
            found[f"{file.stem}: {title}"] = answer.removesuffix("\n")
    return found


def write_answers(answers: Answers) -> None:
    """One file for each section, in the order of the requests."""
    for file in ANSWERS.glob("*.txt"):
        file.unlink()
    for section in SECTIONS:
        blocks = [
            f"\n-- {exchange.title}\n{answers[exchange.name]}\n"
            for exchange in EXCHANGES
            if exchange.section == section and exchange.name in answers
        ]
        text = f"# The answers to the section {section} of requests.txt.\n" + "".join(blocks)
        (ANSWERS / f"{section}.txt").write_text(text)


@pytest.fixture(scope="module")
def records(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--record"))


@pytest.fixture(scope="module")
def answers(records: bool) -> Iterator[Answers]:  # noqa: FBT001 - a fixture
    recorded = read_answers()
    yield recorded
    if records:
        write_answers(recorded)


def as_parameter(exchange: Exchange) -> object:
    """Where a worker or a poller takes part, transactions are real ones."""
    threads = SITUATIONS[exchange.situation].threads
    mark = pytest.mark.django_db(transaction=threads)
    return pytest.param(exchange, id=exchange.name, marks=mark)


@pytest.mark.parametrize("exchange", [as_parameter(one) for one in EXCHANGES])
def test_the_answer_is_the_recorded_one(
    exchange: Exchange,
    answers: Answers,
    records: bool,  # noqa: FBT001 - a fixture
) -> None:
    everywhere = {"link": LINK, "signature": SIGNATURE, "stripe": settings.STRIPE_API_BASE}
    with override_settings(SECRET_KEY=SECRET_KEY), SITUATIONS[exchange.situation].enter() as names:
        answer = exchange.answer({**everywhere, **names})
    if records:
        answers[exchange.name] = answer
    was = answers.get(exchange.name, "")
    if answer != was:
        difference = unified_diff(
            was.splitlines(), answer.splitlines(), "recorded", "answered", lineterm=""
        )
        pytest.fail(f"{exchange.name}\n" + "\n".join(difference), pytrace=False)


def test_each_request_has_a_name_of_its_own_and_nothing_else_is_recorded(
    records: bool,  # noqa: FBT001 - a fixture
) -> None:
    names = [exchange.name for exchange in EXCHANGES]
    assert len(names) == len(set(names))
    assert records or set(read_answers()) == set(names)
