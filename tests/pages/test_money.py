"""Micro-dollars as people read them."""

import pytest

from billing.bar_chart import HEIGHT, SHORTEST, bar_chart
from billing.templatetags.money import dollars


@pytest.mark.parametrize(
    ("micros", "words"),
    [
        (0, "$0.00"),
        (10_000, "$0.010"),
        (18_000, "$0.018"),
        (20_500, "$0.020500"),
        (500_000, "$0.500"),
        (1_234_560_000, "$1,234.56"),
        (4_048_000, "$4.048"),
        (-20_000, "-$0.020"),
        (None, "–"),
    ],
)
def test_money_is_shown_to_the_tenth_of_a_cent_where_it_must(
    micros: int | None, words: str
) -> None:
    assert dollars(micros) == words


def test_the_tallest_bar_fills_the_box_and_the_smallest_still_shows() -> None:
    chart = bar_chart([(1_000, "many"), (1, "one"), (0, "none")])
    assert [bar.height for bar in chart.bars] == [HEIGHT, SHORTEST, 0]


def test_an_empty_chart_is_no_error() -> None:
    assert bar_chart([]).bars == []
