"""Pictures in an S3: one client for each process, and each failure as an `OSError` that says what to do."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    PartialCredentialsError,
)
from django.core.files.base import ContentFile
from django.utils.functional import cached_property
from storages.backends.s3 import S3Storage
from urllib3.exceptions import HTTPError

from images.pictures.s3_client import client_config

CHUNK_BYTES = 256 * 1024
# No picture of ours comes near it: what is longer is no picture, and would fill the memory.
LONGEST_OBJECT_BYTES = 64 * 1024 * 1024
CONNECTIONS = 64

HINTS = {
    "404": "nothing is there: AWS_S3_ENDPOINT_URL or S3_ADDRESSING_STYLE is wrong",
    "AccessDenied": "the key may not do this in S3_BUCKET: it needs GetObject, PutObject and DeleteObject",
    "AuthorizationHeaderMalformed": "AWS_DEFAULT_REGION is not the bucket's region",
    "InvalidAccessKeyId": "AWS_ACCESS_KEY_ID is unknown there",
    "InvalidBucketName": "S3_BUCKET is no name of a bucket there, or S3_ADDRESSING_STYLE must be path",
    "MethodNotAllowed": "the address is no S3, or S3_ADDRESSING_STYLE is wrong for it",
    "NoSuchBucket": "S3_BUCKET does not exist there, or S3_ADDRESSING_STYLE is wrong for it",
    "NotImplemented": "the store does not know a header or a call that we use",
    "PermanentRedirect": "AWS_DEFAULT_REGION is not the bucket's region",
    "RequestTimeTooSkewed": "the clock of this machine is wrong",
    "SignatureDoesNotMatch": "AWS_SECRET_ACCESS_KEY is wrong, or a proxy changes the Host or the path",
}
UNREACHABLE = (
    "nobody answers at the address: look at AWS_S3_ENDPOINT_URL and the network, and set "
    "S3_ADDRESSING_STYLE=path where a bucket has no host name"
)
NO_CREDENTIALS = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the machine a role"


class ObjectStoreError(OSError):
    """The store refused, or did not answer. `code` is the store's word or our error's, fit for a log."""

    def __init__(self, code: str, hint: str = "") -> None:
        super().__init__(f"{code}: {hint}" if hint else code)
        self.code = code
        self.hint = hint


class ObjectStorage(S3Storage):  # type: ignore[misc]
    """django-storages' with a client that all threads share, which is what boto3 allows for clients.

    Its own makes a session and a client for each thread: 100 ms, and megabytes for each of 2,000. It also
    moves bytes by threads of its own, which outlive a caller's time limit.
    """

    def __init__(
        self,
        *,
        addressing_style: str,
        timeout_seconds: float,
        public_endpoint_url: str | None = None,
        **options: Any,
    ) -> None:
        self._timeout_seconds = timeout_seconds
        self._lock = threading.Lock()
        self._links_differ = public_endpoint_url is not None
        self._public_endpoint_url = public_endpoint_url
        self._style = addressing_style
        super().__init__(
            client_config=self._config(options.get("endpoint_url")), default_acl=None, **options
        )

    def _config(self, endpoint: str | None) -> Any:
        return client_config(
            endpoint=endpoint,
            addressing_style=self._style,
            timeout_seconds=self._timeout_seconds,
            connections=CONNECTIONS,
        )

    def _make_client(self, endpoint: str | None) -> Any:
        # A session is not for several threads, nor are two clients of one session made at once.
        return self._create_session().client(
            "s3",
            region_name=self.region_name,
            endpoint_url=endpoint,
            config=self._config(endpoint),
            verify=self.verify,
        )

    @cached_property
    def _client(self) -> Any:
        with self._lock:
            return self.__dict__.get("_client") or self._make_client(self.endpoint_url)

    @cached_property
    def _links_client(self) -> Any:
        """The one that signs links: a signature binds the host, so it must know the public one."""
        if not self._links_differ:
            return self._client
        with self._lock:
            return self.__dict__.get("_links_client") or self._make_client(
                self._public_endpoint_url
            )

    def _open(self, name: str, mode: str = "rb") -> "ContentFile[bytes]":  # noqa: ARG002 - Django's signature
        return ContentFile(self.read(name, seconds=self._timeout_seconds), name=name)

    def read(self, name: str, *, seconds: float) -> bytes:
        """The object's bytes.

        Raises:
            FileNotFoundError: there is none of this name.
            ObjectStoreError: the store refuses, does not answer, or trickles for longer than that.
        """
        until = time.monotonic() + seconds
        with _in_our_words():
            answer = self._client.get_object(Bucket=self.bucket_name, Key=self._key(name))
            body, parts, length = answer["Body"], [], 0
            try:
                while part := body.read(CHUNK_BYTES):
                    parts.append(part)
                    length += len(part)
                    if time.monotonic() > until:
                        raise ObjectStoreError("ReadTimeout", "the store sends too slowly")
                    if length > LONGEST_OBJECT_BYTES:
                        raise ObjectStoreError("TooLong", "the object is no picture of ours")
            finally:
                # Not read to the end, the connection is of no use any more.
                body.close()
        return b"".join(parts)

    def _save(self, name: str, content: Any) -> str:
        """One PUT with a length: no multipart, no trailing checksum, which some stores do not know."""
        with _in_our_words():
            self._client.put_object(
                Bucket=self.bucket_name,
                Key=self._key(name),
                Body=content.read(),
                ContentType="image/png",
            )
        return name

    def delete(self, name: str) -> None:
        """Remove it; safe to repeat."""
        try:
            with _in_our_words():
                self._client.delete_object(Bucket=self.bucket_name, Key=self._key(name))
        except FileNotFoundError:
            # Amazon says 204 to an object that is not there, some others 404.
            return

    def exists(self, name: str) -> bool:
        """Whether there is an object of this name."""
        try:
            # The answer to HEAD has no body, so the code is the status.
            with _in_our_words("404", "NotFound"):
                self._client.head_object(Bucket=self.bucket_name, Key=self._key(name))
        except FileNotFoundError:
            return False
        return True

    def url(
        self,
        name: str | None,
        parameters: Any = None,
        expire: int | None = None,
        http_method: str | None = None,
    ) -> str:
        """A presigned address, at the public host where there is one."""
        with _in_our_words():
            link: str = self._links_client.generate_presigned_url(
                "get_object",
                Params={"Bucket": self.bucket_name, "Key": self._key(name or "")}
                | (parameters or {}),
                ExpiresIn=expire or self.querystring_expire,
                HttpMethod=http_method,
            )
        return link

    def _key(self, name: str) -> str:
        key: str = self._normalize_name(name)
        return key


@contextmanager
def _in_our_words(*missing: str) -> Iterator[None]:
    """Each error of botocore and of what lies below it as an `OSError`; `missing` are more codes of a 404
    that means this object. Any other 404 may be a wrong address.
    """
    try:
        yield
    except ClientError as error:
        told = error.response.get("Error", {})
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        code = str(told.get("Code") or status)
        if status == HTTPStatus.NOT_FOUND and code in {"NoSuchKey", *missing}:
            raise FileNotFoundError(code) from error
        raise ObjectStoreError(code, HINTS.get(code, "")) from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise ObjectStoreError(type(error).__name__, NO_CREDENTIALS) from error
    except EndpointConnectionError as error:
        raise ObjectStoreError(type(error).__name__, UNREACHABLE) from error
    except (BotoCoreError, HTTPError, ValueError) as error:
        raise ObjectStoreError(type(error).__name__) from error
