"""What everybody may read."""

import pytest
from django.test import Client

from billing.ledger import pricing
from ecohash.pages import clients
from tests.cast import Person


def test_home_shows_the_prices_of_the_price_table(alice: Person, client: Client) -> None:
    assert "$0.020" in client.get("/").content.decode()
    pricing.set_price(model="flux-1-schnell", size="1024x1024", amount_micros=21_500)
    page = client.get("/").content.decode()
    assert "$0.021500" in page
    assert "$0.020" not in page


def test_the_docs_carry_the_readers_address(db: None, client: Client, settings) -> None:
    settings.BASE_URL = "https://pictures.example"
    page = client.get("/docs").content.decode()
    assert "curl https://pictures.example/v1/images/generations" in page
    assert "baseURL: &quot;https://pictures.example/v1&quot;" in page


def test_the_docs_name_the_readers_own_key_and_never_all_of_it(
    alice: Person, alice_client: Client
) -> None:
    page = alice_client.get("/docs").content.decode()
    assert f"export ECOHASH_API_KEY={alice.key.hint}" in page
    assert alice.secret not in page


@pytest.mark.parametrize(
    "path", ["/", "/docs", "/docs/clients", "/login", "/signup", "/password/reset"]
)
def test_a_public_page_answers_strangers_without_inline_scripts_or_styles(
    db: None, client: Client, path: str
) -> None:
    answer = client.get(path)
    page = answer.content.decode()
    assert answer.status_code == 200
    assert " style=" not in page
    assert "<script>" not in page
    assert "unsafe" not in answer["Content-Security-Policy"]


def test_an_unknown_address_is_a_page_of_ours(db: None, client: Client) -> None:
    answer = client.get("/nowhere")
    assert answer.status_code == 404
    assert "There is nothing here" in answer.content.decode()


def test_the_page_for_our_own_faults_needs_nothing_that_could_fail() -> None:
    from django.template.loader import render_to_string

    assert "Something broke on our side" in render_to_string("500.html")


def test_the_page_of_clients_is_the_table_of_the_docs(db: None, client: Client) -> None:
    page = client.get("/docs/clients").content.decode()
    rows = [row for _, rows in clients.groups() for row in rows]
    assert len(rows) >= 30 and len({row.name for row in rows}) == len(rows)
    for row in rows:
        assert f"<td>{row.name}</td>" in page and row.limits in page
        assert row.checked.startswith(("run", "source", "documentation"))
    assert 'href="/docs/clients"' in client.get("/docs").content.decode()


def test_a_cell_of_the_clients_is_text_but_for_its_code() -> None:
    assert clients.with_code("a <b> `c<d` e") == "a &lt;b&gt; <code>c&lt;d</code> e"


@pytest.mark.parametrize("row", ["| a | b |", "| a | b | c | d | e | f |"])
def test_a_row_of_the_clients_with_other_cells_is_a_mistake(row: str) -> None:
    with pytest.raises(ValueError, match="has not 5 cells"):
        clients.rows_of(f"| head |\n|---|\n{row}\n")
