"""Pictures in S3, by a server that speaks its protocol."""

import json
import os
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator

import boto3
import pytest
from moto.server import ThreadedMotoServer

from images.jobs import leases
from images.pictures import links, storage
from tests.calls import GENERATIONS, call
from tests.cast import Person
from tests.images import make

pytestmark = [pytest.mark.services, pytest.mark.usefixtures("_s3")]

BUCKET = "pictures"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """The address of an S3 on a free port."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def _s3(endpoint: str, settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings as `S3_BUCKET` and `AWS_S3_ENDPOINT_URL` would make them."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    boto3.client("s3", endpoint_url=endpoint).create_bucket(Bucket=BUCKET)
    settings.S3_BUCKET = BUCKET
    settings.STORAGES = settings.STORAGES | {"images": configured(endpoint)}


def configured(endpoint: str) -> dict[str, object]:
    """The storage that a fresh process reads from its environment."""
    code = "import json, ecohash.settings as s; print(json.dumps(s.STORAGES['images']))"
    names = {"S3_BUCKET": BUCKET, "AWS_S3_ENDPOINT_URL": endpoint}
    printed = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | names,
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, object] = json.loads(printed.stdout)
    return found


def test_a_picture_is_stored_read_replaced_and_removed() -> None:
    storage.put("a/b.png", b"one")
    storage.put("a/b.png", b"two")
    assert storage.get("a/b.png") == b"two"
    storage.pictures().delete("a/b.png")
    with pytest.raises(FileNotFoundError):
        storage.get("a/b.png")


def test_removing_what_is_not_there_is_safe() -> None:
    storage.remove_attempt("gen_" + "a" * 22, 1)


def test_a_link_leads_to_an_address_that_serves_the_picture(alice: Person, settings) -> None:
    job = make.succeeded(alice)
    link = links.url_of(job.image)
    response = call("GET", link.removeprefix(settings.BASE_URL))
    assert response.status_code == 302
    assert response["Cache-Control"] == "no-store"
    address = response["Location"]
    assert address.startswith(settings.STORAGES["images"]["OPTIONS"]["endpoint_url"])
    query = urllib.parse.parse_qs(urllib.parse.urlsplit(address).query)
    assert query["X-Amz-Expires"] == ["60"]
    with urllib.request.urlopen(address, timeout=10) as picture:
        assert picture.read() == make.PNG
        assert picture.headers["Content-Type"] == "image/png"


def test_a_touched_link_leads_nowhere(alice: Person, settings) -> None:
    link = links.url_of(make.succeeded(alice).image).removeprefix(settings.BASE_URL)
    assert call("GET", link + "x").status_code == 403


def test_a_generation_brings_its_picture_from_the_bucket(alice: Person) -> None:
    job = make.succeeded(alice)
    answer = call("GET", f"{GENERATIONS}/{job.id}", headers=alice.headers).json()
    assert answer["data"][0]["b64_json"]


def test_a_lost_attempt_leaves_nothing_in_the_bucket(alice: Person) -> None:
    job = make.running(alice)
    picture = make.stored(job)
    leases.hand_back(job, "engine_failed")
    assert not storage.pictures().exists(picture.storage_key)
