"""The playground: what it refuses, what it admits, and what it shows meanwhile."""

import re
from typing import Any

import pytest
from django.test import Client

from accounts.callers import NotAMember
from billing.models import Hold
from images.catalog import PROMPT_LIMIT
from images.jobs import admission, generation, leases
from images.models import Generation
from images.queue import signals
from tests.cast import Person
from tests.html import flat
from tests.images import make
from tests.pages.runs import played

FOX = {"prompt": "a red fox", "size": "768x1024", "seed": "7"}
HTMX = {"HX-Request": "true"}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"prompt": ""}, "the prompt is empty"),
        ({"prompt": " \n "}, "the prompt is empty"),
        ({"prompt": "x" * (PROMPT_LIMIT + 1)}, "has 1001 characters and may have 1000"),
        ({"size": "1x1"}, "This size is not offered"),
        ({"size": ""}, "Choose a size"),
        ({"seed": "-1"}, "A seed is at least 0"),
        ({"seed": "4294967296"}, "A seed is at most 4294967295"),
        ({"seed": "five"}, "A seed is a whole number"),
    ],
)
def test_a_wrong_value_is_refused_in_words_and_holds_nothing(
    alice_client: Client, wrong: dict[str, str], words: str
) -> None:
    answer = alice_client.post("/playground", FOX | wrong)
    assert answer.status_code == 422
    assert words in answer.content.decode()
    assert not Hold.objects.exists()


def test_a_run_is_admitted_as_asked_and_shown_at_its_own_address(
    alice: Person, alice_client: Client
) -> None:
    answer = alice_client.post("/playground", FOX)
    job = Generation.objects.get()
    assert answer["Location"] == f"/playground/{job.pk}"
    assert (job.prompt, job.size, job.seed) == ("a red fox", "768x1024", 7)
    assert (job.user, job.api_key, job.organization) == (alice.user, None, alice.organization)
    assert job.request_id == answer["x-request-id"]
    assert job.hold.amount_micros == 18_000


def test_without_scripts_the_page_loads_itself_again_until_the_run_has_ended(
    alice: Person, alice_client: Client
) -> None:
    refresh = '<noscript><meta http-equiv="refresh"'
    job = make.queued(alice)
    assert refresh in flat(alice_client.get(f"/playground/{job.pk}").content.decode())
    generation.expire(job)
    assert refresh not in flat(alice_client.get(f"/playground/{job.pk}").content.decode())


def test_a_run_that_is_still_drawn_past_its_deadline_says_that_it_is_charged(
    alice: Person, alice_client: Client
) -> None:
    job = make.running(alice)
    page = f"/playground/{job.pk}/state"
    assert "will be finished" not in flat(alice_client.get(page).content.decode())
    make.deadline_passed(job)
    shown = flat(alice_client.get(page).content.decode())
    assert "It will be finished, kept for 24 hours and charged $0.010" in shown


def test_who_was_removed_between_the_look_and_the_draw_is_told_so(
    alice_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_request: Any) -> None:
        raise NotAMember

    monkeypatch.setattr(admission, "admit", refuse)
    answer = alice_client.post("/playground", FOX)
    assert answer.status_code == 403
    assert "may not act for this organization any more" in answer.content.decode()


def test_the_script_gets_the_run_alone(alice_client: Client) -> None:
    answer = alice_client.post("/playground", FOX, headers=HTMX)
    job = Generation.objects.get()
    assert answer.status_code == 200
    assert answer["HX-Push-Url"] == f"/playground/{job.pk}"
    assert "<html" not in answer.content.decode()
    assert f"/playground/{job.pk}/state" in answer.content.decode()


def test_the_script_gets_the_form_back_with_what_is_wrong(alice_client: Client) -> None:
    answer = alice_client.post("/playground", FOX | {"seed": "-1"}, headers=HTMX)
    assert answer.status_code == 422
    assert answer["HX-Retarget"] == "#playground-form"
    assert "a red fox" in answer.content.decode()


def state(client: Client, job: Generation) -> Any:
    return client.get(f"/playground/{job.pk}/state")


def test_the_state_follows_a_run_to_its_picture(
    alice: Person, alice_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = make.queued(alice), make.queued(alice)
    assert "Number 2 in line" in flat(state(alice_client, second).content.decode())
    job = make.claimed()
    assert "Next in line" in flat(state(alice_client, second).content.decode())
    monkeypatch.setattr(signals, "step_of", lambda _: (2, 4))
    assert "step 2 of 4" in flat(state(alice_client, first).content.decode())
    leases.deliver(job, make.stored(job))
    done = state(alice_client, first)
    assert make.now(job).image.token in done.content.decode()
    assert 'hx-trigger="load' not in done.content.decode()
    assert done["HX-Trigger"] == "history-changed"


def test_a_run_that_nobody_will_draw_says_so(
    alice: Person, alice_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals, "live_workers", list)
    assert "No worker is alive" in state(alice_client, make.queued(alice)).content.decode()
    assert "No worker is alive" in alice_client.get("/playground").content.decode()


@pytest.mark.parametrize(
    ("fingerprint", "honest"),
    [
        ("FLUX.1-schnell; weights=1", None),
        ("flux-miniature; weights=1", "a miniature checkpoint, not FLUX.1 Schnell"),
        ("blank; numpy=2", "the blank engine, not FLUX.1 Schnell"),
    ],
)
def test_the_page_says_which_checkpoint_draws(
    alice_client: Client, monkeypatch: pytest.MonkeyPatch, fingerprint: str, honest: str | None
) -> None:
    worker = signals.LiveWorker("gpu", "flux-1-schnell", "idle", fingerprint)
    monkeypatch.setattr(signals, "live_workers", lambda: [worker])
    page = alice_client.get("/playground").content.decode()
    assert fingerprint in page
    assert (honest in page) if honest else ("not FLUX.1 Schnell" not in page)


def test_a_picture_says_what_drew_it_and_does_not_explain_it_a_second_time(
    alice: Person, alice_client: Client
) -> None:
    job = make.succeeded(alice)
    Generation.objects.filter(pk=job.pk).update(engine="flux-miniature; weights=1")
    section = alice_client.get(f"/playground/{job.pk}", headers=HTMX).content.decode()
    assert "flux-miniature; weights=1" in section
    assert "a miniature checkpoint, not FLUX.1 Schnell" in section
    assert "do not judge the model" not in section
    assert (
        "do not judge the model"
        in alice_client.get(f"/dashboard/requests/{job.pk}").content.decode()
    )


def test_out_of_credit_is_told_in_words_with_a_way_on(paupers: Client) -> None:
    for headers in ({}, HTMX):
        answer = paupers.post("/playground", FOX, headers=headers)
        assert answer.status_code == 422
        page = answer.content.decode()
        assert "no credit left for this image" in page
        assert "Open Billing" in page
    assert not Generation.objects.exists()


def test_an_earlier_request_is_laid_out_again(alice: Person, alice_client: Client) -> None:
    job = make.queued(alice, prompt="a green fox\nin two lines", size="512x512", seed=42)
    form = alice_client.get("/playground", {"like": job.pk}).context["form"]
    assert form["prompt"].value() == "a green fox\nin two lines"
    assert (form["size"].value(), form["seed"].value()) == ("512x512", 42)


def test_line_breaks_count_once_however_the_browser_sends_them(alice_client: Client) -> None:
    alice_client.post("/playground", FOX | {"prompt": "a\r\nb" * 250})
    assert Generation.objects.get().prompt == "a\nb" * 250


def test_the_history_is_the_organizations_and_the_playgrounds(
    alice: Person, bob: Person, alice_client: Client, charlies: Client
) -> None:
    make.queued(alice)
    bobs = played(bob)
    shown = re.findall(
        r'href="/playground/(gen_\w+)"', alice_client.get("/playground/history").content.decode()
    )
    assert shown == [bobs.pk]
    assert "gen_" not in charlies.get("/playground/history").content.decode()


def test_another_sites_form_draws_nothing(alice: Person) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(alice.user, backend="allauth.account.auth_backends.AuthenticationBackend")
    assert strict.post("/playground", FOX).status_code == 403
    assert not Generation.objects.exists()
