"""Hosted links: good for whoever holds them, for a day, and only as they were given."""

from datetime import timedelta
from urllib.parse import parse_qs, quote, quote_plus, urlsplit

import pytest
from django.utils import timezone

from images.jobs import leases
from images.models import Generation, Image
from images.pictures import links, storage
from tests.calls import call, error_of
from tests.cast import Person
from tests.images import make


@pytest.fixture
def job(alice: Person) -> Generation:
    return make.succeeded(alice)


@pytest.fixture
def link(job: Generation, settings) -> str:
    return links.url_of(job.image).removeprefix(settings.BASE_URL)


def expire(image: Image) -> None:
    image.expires_at = timezone.now() - timedelta(seconds=1)
    image.save()


def test_a_link_works_without_a_key(link: str) -> None:
    response = call("GET", link)
    assert response.status_code == 200
    assert response["Content-Type"] == "image/png"
    assert response.png == make.PNG
    assert int(response["Content-Length"]) == len(make.PNG)


@pytest.mark.parametrize("value", ["Bearer eco_wrong", "Basic YTpi", "Bearer", "nonsense"])
def test_a_link_ignores_any_authorization(link: str, value: str) -> None:
    assert call("GET", link, headers={"Authorization": value}).status_code == 200


@pytest.mark.parametrize("accept", ["text/html", "application/json", "nonsense"])
def test_a_link_answers_png_whatever_is_accepted(link: str, accept: str) -> None:
    assert call("GET", link, headers={"Accept": accept})["Content-Type"] == "image/png"


def test_a_link_is_absolute_and_carries_neither_key_nor_prompt(
    alice: Person, job: Generation, settings
) -> None:
    url = links.url_of(job.image)
    assert url.startswith(f"{settings.BASE_URL}/i/")
    assert set(parse_qs(urlsplit(url).query)) == {"expires", "sig"}
    assert alice.secret not in url
    assert job.id not in url
    assert quote(job.prompt) not in url
    assert quote_plus(job.prompt) not in url


def test_head_is_answered(link: str) -> None:
    assert call("HEAD", link).status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_but_reading_is_offered(link: str, method: str) -> None:
    response = call(method, link)
    assert response.status_code == 405
    assert response["Allow"] == "GET, HEAD"
    assert error_of(response)["code"] == "method_not_allowed"


def test_each_part_that_is_touched_kills_the_link(link: str) -> None:
    """Every single character, from the token on."""
    for place in range(len("/i/"), len(link)):
        if link[place] in "./?&=":
            continue
        touched = "a" if link[place] != "a" else "b"
        response = call("GET", link[:place] + touched + link[place + 1 :])
        assert response.status_code in {403, 404}, place
        error_of(response)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda link: link.split("?")[0],
        lambda link: link.split("&sig")[0],
        lambda link: link.replace("expires=", "expires=+"),
        lambda link: link.replace("expires=", "expires=0"),
        lambda link: link.replace("expires=", "expires=%D9%A3"),
        lambda link: link.replace("expires=", "expires=" + "9" * 5_00),
        lambda link: link.replace("sig=", "sig=%ffé"),
        lambda link: link.replace(".png", ".jpg"),
        lambda link: link.replace("/i/", "/i//"),
        lambda link: link + "x",
    ],
)
def test_a_link_that_is_incomplete_or_odd_is_refused(link: str, spoil) -> None:
    response = call("GET", spoil(link))
    assert response.status_code in {403, 404}
    error_of(response)


def test_a_link_of_another_picture_does_not_fit(alice: Person, link: str) -> None:
    other = make.succeeded(alice).image.token
    swapped = f"/i/{other}.png?{link.partition('?')[2]}"
    assert call("GET", swapped).status_code == 403


def test_another_servers_signature_is_refused(link: str, settings) -> None:
    settings.SECRET_KEY = "the secret key of another server entirely"
    assert call("GET", link).status_code == 403


def test_a_link_past_its_day_is_gone(job: Generation, settings) -> None:
    expire(job.image)
    link = links.url_of(job.image).removeprefix(settings.BASE_URL)
    response = call("GET", link)
    assert response.status_code == 410
    assert error_of(response)["code"] == "link_expired"


def test_a_purged_picture_is_gone_and_its_link_says_so(job: Generation, link: str) -> None:
    make.ended(job, timedelta(days=2))
    leases.purge()
    assert call("GET", link).status_code == 410


def test_a_picture_that_left_the_storage_early_is_gone(job: Generation, link: str) -> None:
    storage.pictures().delete(job.image.storage_key)
    assert call("GET", link).status_code == 410


def test_the_browser_is_told_not_to_guess_a_type(link: str) -> None:
    assert call("GET", link)["X-Content-Type-Options"] == "nosniff"
