"""Query strings that no page of ours makes."""

import pytest
from django.test import Client

from tests.cast import Person

BACKEND = "allauth.account.auth_backends.AuthenticationBackend"
PAGES = ("/playground?like=", "/dashboard/requests?status=", "/dashboard/requests?key=")
MORE = (
    "/dashboard/requests?before=",
    "/dashboard/usage?month=",
    "/dashboard/billing?before=",
    "/dashboard/keys?after=",
)


@pytest.mark.parametrize("page", PAGES + MORE)
@pytest.mark.parametrize("odd", ["%00", "%FF%FE", "-1", "9" * 40, "%F0%9F%A6%8A", "gen_x'--"])
def test_no_query_breaks_a_page(alice: Person, client: Client, page: str, odd: str) -> None:
    client.force_login(alice.user, backend=BACKEND)
    assert client.get(f"{page}{odd}").status_code < 500


def test_a_nul_in_a_query_is_a_bad_request(client: Client) -> None:
    assert client.get("/?x=%00").status_code == 400
    assert client.get("/v1/models?x=%00").json()["error"]["type"] == "invalid_request_error"
