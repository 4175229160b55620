"""Settings of a key for clients that cannot be changed, as people make and see them."""

from typing import Any

import pytest
from django.test import Client

from accounts.keys import aliases
from accounts.models import ApiKey
from tests.calls import call
from tests.cast import Person
from tests.html import flat

MODEL = "flux-1-schnell"
ON = {
    "name": "Old tool",
    "prefers_links": "on",
    "alias_names": ["dall-e-3", "gpt-image-1"],
    "other_aliases": "openai/dall-e-3\r\n\r\nazure/my-model = flux-1-schnell",
    "nearest_size": "on",
}
CHANGE = {"name": "Laptop", "expiry": "keep", "access": "generate usage.read"}
FOLDED = '<details class="more"><summary>For clients that cannot be changed'
OPEN = '<details class="more" open><summary>For clients that cannot be changed'


def page_of(client: Client, path: str) -> str:
    return flat(client.get(path).content.decode())


def test_a_key_is_made_with_its_settings_and_answers_by_them(alice_client: Client) -> None:
    answer = alice_client.post("/dashboard/keys", ON)
    assert answer.status_code == 200
    key = ApiKey.objects.latest("pk")
    assert key.prefers_links and key.nearest_size
    names = ["dall-e-3", "gpt-image-1", "openai/dall-e-3", "azure/my-model"]
    assert key.model_aliases == dict.fromkeys(names, MODEL)
    secret = answer.content.decode().partition('class="secret-text">')[2].partition("<")[0]
    listed = call("GET", "/v1/models", headers={"Authorization": f"Bearer {secret}"}).json()["data"]
    assert [model["id"] for model in listed] == [MODEL, *names]


def test_without_them_a_key_keeps_the_contract_and_the_part_is_folded(
    alice: Person, alice_client: Client
) -> None:
    alice_client.post("/dashboard/keys", {"name": "Plain"})
    key = ApiKey.objects.latest("pk")
    assert (key.prefers_links, key.model_aliases, key.nearest_size) == (False, {}, False)
    for path in ("/dashboard/keys", f"/dashboard/keys/{key.pk}"):
        page = page_of(alice_client, path)
        assert FOLDED in page and OPEN not in page
        assert 'href="/docs/clients"' in page


def test_list_and_page_say_which_are_on_and_the_form_stands_open(
    alice: Person, alice_client: Client
) -> None:
    alice_client.post("/dashboard/keys", ON)
    key = ApiKey.objects.latest("pk")
    listed = page_of(alice_client, "/dashboard/keys")
    assert "links by default, 4 model aliases, nearest size" in listed
    # The key that was there before has none, and says nothing.
    assert listed.count("settings-on") == 1
    page = page_of(alice_client, f"/dashboard/keys/{key.pk}")
    assert OPEN in page
    assert f"<code>openai/dall-e-3</code> means <code>{MODEL}</code>" in page
    assert page.count('name="alias_names" value="dall-e-3"') == 1
    assert "openai/dall-e-3 = flux-1-schnell\nazure/my-model = flux-1-schnell</textarea>" in (
        alice_client.get(f"/dashboard/keys/{key.pk}").content.decode()
    )


def test_saving_the_form_as_it_stands_changes_nothing(alice: Person, alice_client: Client) -> None:
    alice_client.post("/dashboard/keys", ON)
    key = ApiKey.objects.latest("pk")
    before = ApiKey.objects.values().get(pk=key.pk)
    form = alice_client.get(f"/dashboard/keys/{key.pk}").context["form"]
    shown = {name: form[name].value() for name in form.fields}
    body = {name: value for name, value in shown.items() if value not in (None, False, [])}
    assert alice_client.post(f"/dashboard/keys/{key.pk}", body).status_code == 302
    assert ApiKey.objects.values().get(pk=key.pk) == before


def test_they_are_turned_off_again_from_the_next_call_on(
    alice: Person, alice_client: Client
) -> None:
    ApiKey.objects.filter(pk=alice.key.pk).update(
        prefers_links=True, model_aliases={"dall-e-3": MODEL}, nearest_size=True
    )
    answer = alice_client.post(f"/dashboard/keys/{alice.key.pk}", CHANGE, follow=True)
    assert "Applies from the next call." in answer.content.decode()
    settings = call("GET", "/v1/key", headers=alice.headers).json()["settings"]
    assert settings == {
        "default_response_format": "b64_json",
        "model_aliases": {},
        "nearest_size": False,
    }


def test_a_rotated_key_keeps_them(alice: Person, alice_client: Client) -> None:
    alice_client.post(f"/dashboard/keys/{alice.key.pk}", CHANGE | ON)
    alice_client.post(f"/dashboard/keys/{alice.key.pk}/rotate", {"overlap": "0"})
    old, new = ApiKey.objects.order_by("pk")
    assert new.prefers_links and new.nearest_size
    assert new.model_aliases == old.model_aliases != {}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"alias_names": ["dall-e-9"]}, ["Choose among these names"]),
        ({"other_aliases": "ok\nmy model"}, ["Line 2: “my model” cannot be an alias"]),
        ({"other_aliases": "-x\n/y\na//b\nz/"}, [f"Line {n}: " for n in (1, 2, 3, 4)]),
        ({"other_aliases": "é"}, ["Line 1: “é” cannot be an alias"]),
        ({"other_aliases": "= flux-1-schnell"}, ["Line 1: “” cannot be an alias"]),
        ({"other_aliases": "x" * 65}, ["at most 64 characters"]),
        ({"other_aliases": f"{MODEL}\n{MODEL} = {MODEL}"}, ["Line 1: ", "is a model itself"]),
        ({"other_aliases": "a = flux"}, ["Line 1: There is no model “flux”. Use one of"]),
        ({"other_aliases": "a ="}, ["Line 1: There is no model “”"]),
        ({"other_aliases": "a = b = c"}, ["There is no model “b = c”"]),
        ({"other_aliases": "\n".join(f"m{n}" for n in range(21))}, ["at most 20 aliases", "21"]),
        (
            {"other_aliases": "\n".join(f"m{n}" for n in range(20)), "alias_names": ["dall-e-3"]},
            ["at most 20 aliases", "21"],
        ),
        ({"other_aliases": "x\n" * 3_000}, ["This has 5999 characters"]),
        ({"other_aliases": "!\n" * 9}, ["Line 5: ", "And 4 more lines like these"]),
    ],
)
def test_what_is_wrong_is_said_and_the_part_stands_open(
    alice_client: Client, wrong: dict[str, Any], words: list[str]
) -> None:
    typed = CHANGE | {"name": "Typed before", "expiry": "never"}
    answer = alice_client.post("/dashboard/keys", typed | wrong)
    page = flat(answer.content.decode())
    assert answer.status_code == 422
    assert OPEN in page and "Typed before" in page
    # The other part of the form has nothing to show.
    assert '<details class="more"><summary>Limits, expiry' in page
    assert all(word in page for word in words)
    assert ApiKey.objects.count() == 1


@pytest.mark.parametrize(
    "name", ["a", "A" * 64, "9", "gpt-image-1:latest", "azure/o.p_e-n:1/x", "DALL-E-3"]
)
def test_names_that_clients_send_are_taken(alice_client: Client, name: str) -> None:
    written = f" {name} \r\n{name} = {MODEL}\r\n"
    alice_client.post("/dashboard/keys", {"name": "Named", "other_aliases": written})
    assert ApiKey.objects.latest("pk").model_aliases == {name: MODEL}


def test_of_two_models_each_alias_means_the_one_it_names(
    alice_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aliases, "MODEL_IDS", [MODEL, "noise-2"])
    lines = "mine = noise-2\nyours"
    made = {"name": "Two", "alias_names": ["dall-e-2"], "other_aliases": lines}
    alice_client.post("/dashboard/keys", made)
    named = {"dall-e-2": MODEL, "mine": "noise-2", "yours": MODEL}
    assert ApiKey.objects.latest("pk").model_aliases == named
    for twice in ({"other_aliases": "mine\nmine = noise-2"}, {"other_aliases": "dall-e-2=noise-2"}):
        answer = alice_client.post("/dashboard/keys", made | twice)
        assert answer.status_code == 422
        page = answer.content.decode()
        assert "is given twice" in page or "is ticked above" in page


def test_aliases_that_are_no_longer_right_are_named_when_the_key_is_edited(
    alice: Person, alice_client: Client
) -> None:
    stale = {"old": "gone", MODEL: MODEL, "fine": MODEL}
    ApiKey.objects.filter(pk=alice.key.pk).update(model_aliases=stale)
    path = f"/dashboard/keys/{alice.key.pk}"
    lines = alice_client.get(path).context["form"]["other_aliases"].value()
    body = CHANGE | {"other_aliases": lines}
    page = flat(alice_client.post(path, body).content.decode())
    assert "Line 1: There is no model “gone”" in page and "Line 2: “flux-1-schnell” is a" in page


def test_a_typed_name_is_shown_as_text(alice_client: Client) -> None:
    written = {"name": "x", "other_aliases": "<script>alert(1)</script>"}
    page = alice_client.post("/dashboard/keys", written).content.decode()
    assert "<script>alert" not in page
