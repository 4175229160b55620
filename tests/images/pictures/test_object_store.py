"""Pictures in an S3 that stalls, refuses and trickles: each call ends, and says what is wrong."""

import time
from typing import Any
from urllib.parse import urlsplit

import pytest

from ecohash.configuration import backends
from images.pictures import storage
from images.pictures.object_store import ObjectStoreError
from images.pictures.time_limits import StorageBusy, StorageTimeout
from tests import servers
from tests.object_store import ObjectStoreDouble, configured, use

PNG = b"\x89PNG" * 100
KEY = "ab/gen_ab-1.png"
# A call that ends at its limit ends well before this, on a machine under load too.
PATIENCE_SECONDS = 10


def test_a_picture_is_stored_read_and_removed(object_store: ObjectStoreDouble) -> None:
    storage.put(KEY, PNG)
    assert object_store.objects == {f"/pics/{KEY}": PNG}
    assert storage.get(KEY) == PNG
    assert storage.pictures().exists(KEY)
    storage.remove(KEY)
    assert not storage.pictures().exists(KEY)
    with pytest.raises(FileNotFoundError):
        storage.get(KEY)


def test_a_store_that_knows_no_checksums_takes_and_gives_a_picture(
    object_store: ObjectStoreDouble,
) -> None:
    object_store.knows_checksums = False
    storage.put(KEY, PNG)
    assert storage.get(KEY) == PNG
    [put] = object_store.asked("PUT")
    assert put.headers["content-length"] == str(len(PNG))
    assert {"transfer-encoding", "content-encoding"}.isdisjoint(put.headers)


@pytest.mark.parametrize("kind", ["stall", "stall_half", "cut_half", "trickle", "drop", "403"])
def test_a_read_that_fails_ends_in_time(object_store: ObjectStoreDouble, kind: str) -> None:
    storage.put(KEY, PNG)
    object_store.fault("GET", kind)
    begun = time.monotonic()
    with pytest.raises(OSError) as failed:
        storage.get(KEY)
    assert not isinstance(failed.value, FileNotFoundError)
    assert time.monotonic() - begun < PATIENCE_SECONDS


def test_a_caller_with_less_time_waits_less(object_store: ObjectStoreDouble, settings) -> None:
    use(settings, configured(endpoint=object_store.endpoint), timeout_seconds=30)
    object_store.fault("GET", "stall")
    begun = time.monotonic()
    with pytest.raises(TimeoutError):
        storage.get(KEY, seconds=0.1)
    assert time.monotonic() - begun < PATIENCE_SECONDS


@pytest.mark.parametrize("kind", ["stall", "drop", "403", "501"])
def test_a_write_that_fails_ends_in_time(object_store: ObjectStoreDouble, kind: str) -> None:
    object_store.fault("PUT", kind)
    with pytest.raises(OSError):
        storage.put(KEY, PNG)


def test_a_write_that_fails_once_is_repeated(object_store: ObjectStoreDouble, settings) -> None:
    use(settings, configured(endpoint=object_store.endpoint), timeout_seconds=10)
    object_store.fault("PUT", "500", times=1)
    storage.put(KEY, PNG)
    assert len(object_store.asked("PUT")) == 2


def test_removals_that_hang_let_the_next_one_fail_at_once(
    object_store: ObjectStoreDouble, settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(settings, configured(endpoint=object_store.endpoint), timeout_seconds=30)
    monkeypatch.setattr(storage, "REMOVAL_SECONDS", 0.1)
    object_store.fault("DELETE", "stall")
    for _ in range(4):
        with pytest.raises(StorageTimeout):
            storage.remove(KEY)
    with pytest.raises(StorageBusy):
        storage.remove(KEY)


@pytest.mark.parametrize(
    ("kind", "code", "hint"),
    [("403", "AccessDenied", "GetObject"), ("501", "NotImplemented", "header")],
)
def test_a_refusal_says_what_to_look_at(
    object_store: ObjectStoreDouble, kind: str, code: str, hint: str
) -> None:
    object_store.fault("GET", kind)
    with pytest.raises(ObjectStoreError) as refused:
        storage.get(KEY)
    told = storage.describe(refused.value)
    assert (told["code"], hint in told["hint"]) == (code, True)


def test_a_store_that_is_gone_is_named_and_used_again_when_it_is_back(
    object_store: ObjectStoreDouble,
) -> None:
    storage.put(KEY, PNG)
    object_store.close()
    with pytest.raises(OSError) as away:
        storage.get(KEY)
    assert "AWS_S3_ENDPOINT_URL" in str(away.value)
    object_store.open()
    assert storage.get(KEY) == PNG


MINIO = "http://minio:9000"
R2 = "https://abc.r2.cloudflarestorage.com"


@pytest.mark.parametrize(
    ("values", "address"),
    [
        ({"region": "us-east-1"}, "https://pics.s3.us-east-1.amazonaws.com/a.png"),
        ({"region": "eu-south-1"}, "https://pics.s3.eu-south-1.amazonaws.com/a.png"),
        ({"region": "cn-north-1"}, "https://pics.s3.cn-north-1.amazonaws.com.cn/a.png"),
        ({"region": "us-gov-west-1"}, "https://pics.s3.us-gov-west-1.amazonaws.com/a.png"),
        (
            {"region": "eu-south-1", "bucket": "my.pics"},
            "https://s3.eu-south-1.amazonaws.com/my.pics/a.png",
        ),
        (
            {"region": "eu-south-1", "addressing_style": "path"},
            "https://s3.eu-south-1.amazonaws.com/pics/a.png",
        ),
        ({"endpoint": MINIO}, "http://minio:9000/pics/a.png"),
        ({"endpoint": R2, "region": "auto"}, f"{R2}/pics/a.png"),
        (
            {"endpoint": R2, "region": "auto", "addressing_style": "virtual"},
            "https://pics.abc.r2.cloudflarestorage.com/a.png",
        ),
        (
            {"endpoint": MINIO, "public_endpoint": "https://images.example.com"},
            "https://images.example.com/pics/a.png",
        ),
        (
            {"endpoint": "https://x.supabase.co/storage/v1/s3", "region": "eu-west-1"},
            "https://x.supabase.co/storage/v1/s3/pics/a.png",
        ),
    ],
)
def test_a_link_names_the_address_that_pages_may_load_images_from(
    settings: Any, aws_credentials: None, values: dict[str, str], address: str
) -> None:
    object_store = configured(**values)
    assert object_store.problems() == []
    use(settings, object_store)
    link = storage.presigned_url("a.png")
    assert link and link.partition("?")[0] == address
    assert "X-Amz-Algorithm=AWS4-HMAC-SHA256" in link
    assert f"%2F{values.get('region') or 'us-east-1'}%2Fs3%2F" in link
    parts = urlsplit(address)
    policy = backends.content_security_policy(
        links_origin=object_store.links_origin, forms_lead_to=[]
    )
    assert f"{parts.scheme}://{parts.netloc}" in policy["DIRECTIVES"]["img-src"]


def test_a_store_that_only_we_reach_is_asked_there_and_linked_elsewhere(
    object_store: ObjectStoreDouble, settings
) -> None:
    public = "https://images.example.com"
    use(settings, configured(endpoint=object_store.endpoint, public_endpoint=public))
    storage.put(KEY, PNG)
    assert storage.get(KEY) == PNG
    assert str(storage.presigned_url(KEY)).startswith(f"{public}/pics/{KEY}?")


def test_no_link_leads_to_a_bucket_where_we_send_the_images(
    settings: Any, aws_credentials: None
) -> None:
    object_store = configured(endpoint=MINIO, links="stream")
    use(settings, object_store)
    assert storage.presigned_url("a.png") is None
    assert object_store.links_origin == ""


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"bucket": "", "public_endpoint": "https://a.example"}, "S3_BUCKET"),
        ({"bucket": "", "links": "stream"}, "S3_BUCKET"),
        ({"endpoint": "https://abc.r2.cloudflarestorage.com/pics"}, "AWS_S3_ENDPOINT_URL"),
        ({"endpoint": "https://pics.fra1.example.com"}, "AWS_S3_ENDPOINT_URL"),
        (
            {"endpoint": MINIO, "public_endpoint": "https://a.example", "links": "stream"},
            "S3_PUBLIC_ENDPOINT_URL",
        ),
        ({"region": "eu south"}, "S3_BUCKET"),
        ({"region": "eu-south-1", "bucket": "pi cs"}, "S3_BUCKET"),
    ],
)
def test_values_that_contradict_each_other_are_named(values: dict[str, str], name: str) -> None:
    [problem] = configured(**values).problems()
    assert problem.startswith(name)


def test_nobody_at_the_address_is_told_with_what_to_look_at(
    settings: Any, aws_credentials: None
) -> None:
    use(settings, configured(endpoint=f"http://127.0.0.1:{servers.free_port()}"))
    with pytest.raises(OSError, match="S3_ADDRESSING_STYLE=path"):
        storage.put(KEY, PNG)
