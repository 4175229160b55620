"""Links to pictures in a bucket: redirected there, or streamed by us where browsers cannot reach it."""

import pytest

from images.pictures import links
from tests.calls import call, error_of
from tests.cast import Person
from tests.images import make
from tests.object_store import LIMIT_SECONDS, ObjectStoreDouble, configured, use


@pytest.fixture
def link(alice: Person, settings, object_store: ObjectStoreDouble) -> str:
    return links.url_of(make.succeeded(alice).image).removeprefix(settings.BASE_URL)


def test_the_head_of_a_link_is_answered_without_the_bucket(
    link: str, object_store: ObjectStoreDouble
) -> None:
    response = call("HEAD", link)
    assert (response.status_code, response["Content-Type"]) == (200, "image/png")
    assert response["Content-Length"] == str(len(make.PNG))
    assert object_store.asked("GET") == object_store.asked("HEAD") == []


def test_a_link_is_streamed_where_the_bucket_is_not_public(
    link: str, object_store: ObjectStoreDouble, settings
) -> None:
    assert call("GET", link).status_code == 302
    use(settings, configured(endpoint=object_store.endpoint, links="stream"))
    response = call("GET", link)
    assert (response.status_code, response.content) == (200, make.PNG)
    assert response["Content-Type"] == "image/png"


@pytest.mark.parametrize(("kind", "status"), [("403", 503), ("stall", 503), ("404", 410)])
def test_a_streamed_link_whose_bucket_withholds_the_image(
    link: str, object_store: ObjectStoreDouble, settings, kind: str, status: int
) -> None:
    streaming = configured(endpoint=object_store.endpoint, links="stream")
    use(settings, streaming, timeout_seconds=LIMIT_SECONDS)
    object_store.fault("GET", kind)
    response = call("GET", link)
    assert response.status_code == status
    error_of(response)
