"""What the environment says about an S3, and which values contradict each other."""

from dataclasses import dataclass
from functools import cached_property
from os import environ
from typing import Any
from urllib.parse import urlsplit

from ecohash.configuration.environment import address, choice, setting

# Where boto3 finds a region by itself; without one it signs for us-east-1, and other regions refuse that.
NAMES_A_REGION = ("AWS_PROFILE", "AWS_CONFIG_FILE")
ADDRESSING_STYLES = ("auto", "virtual", "path")
# A link of ours leads to the bucket, or we send the image ourselves.
LINKS = ("redirect", "stream")


@dataclass(frozen=True)
class ObjectStore:
    """The settings of an S3, each empty where it is unset. Without a bucket there is none."""

    bucket: str
    endpoint: str
    public_endpoint: str
    region: str
    addressing_style: str
    links: str

    @property
    def signing_region(self) -> str | None:
        """What a signature names. A store that has no regions is asked as boto3 does without one, which an
        empty AWS_DEFAULT_REGION would prevent. None: boto3 finds it in a profile.
        """
        return self.region or ("us-east-1" if self.endpoint else None)

    def storage(self, *, timeout_seconds: float) -> dict[str, Any]:
        """Django's settings of a storage in the bucket; without an endpoint it is Amazon's."""
        return {
            "BACKEND": "images.pictures.object_store.ObjectStorage",
            "OPTIONS": {
                "bucket_name": self.bucket,
                "endpoint_url": self.endpoint or None,
                "public_endpoint_url": self.public_endpoint or None,
                "region_name": self.signing_region,
                "addressing_style": self.addressing_style,
                "timeout_seconds": timeout_seconds,
                "querystring_expire": 60,
            },
        }

    @cached_property
    def links_origin(self) -> str:
        """Scheme, host and port of the addresses that links are redirected to; empty where there are none.

        Raises:
            ValueError: the values make no address.
        """
        if not self.bucket or self.links != "redirect":
            return ""
        # A quarter of a second, which nobody pays who has no S3.
        from images.pictures import s3_client  # noqa: PLC0415

        return s3_client.links_origin(
            bucket=self.bucket,
            endpoint=self.public_endpoint or self.endpoint or None,
            region=self.signing_region,
            addressing_style=self.addressing_style,
        )

    def problems(self) -> list[str]:
        """One sentence for each contradiction, with its remedy."""
        if not self.bucket:
            return self._without_bucket()
        if not self.endpoint and not self.region and not any(map(environ.get, NAMES_A_REGION)):
            return ["AWS_DEFAULT_REGION must be set to the region of the bucket in S3_BUCKET."]
        found = [
            f"{name} must not hold the bucket's name: S3_BUCKET names it, and S3_ADDRESSING_STYLE "
            "says where it goes."
            for name, url in (
                ("AWS_S3_ENDPOINT_URL", self.endpoint),
                ("S3_PUBLIC_ENDPOINT_URL", self.public_endpoint),
            )
            if self._names_bucket(url)
        ]
        if self.public_endpoint and self.links == "stream":
            found.append(
                "S3_PUBLIC_ENDPOINT_URL must be unset where S3_LINKS is stream: no link leads to it."
            )
        try:
            self.links_origin  # noqa: B018 - asked for its error
        except ValueError as error:
            found.append(f"S3_BUCKET and its region and endpoint make no address: {error}")
        return found

    def _without_bucket(self) -> list[str]:
        given = {
            "AWS_S3_ENDPOINT_URL": self.endpoint,
            "S3_PUBLIC_ENDPOINT_URL": self.public_endpoint,
            "S3_ADDRESSING_STYLE": self.addressing_style != ADDRESSING_STYLES[0],
            "S3_LINKS": self.links != LINKS[0],
        }
        names = [name for name, value in given.items() if value]
        return [f"S3_BUCKET must be set where {names[0]} is."] if names else []

    def _names_bucket(self, url: str) -> bool:
        """Whether an address that was copied from a console has the bucket in its host or path."""
        parts = urlsplit(url)
        in_host = (parts.hostname or "").startswith(f"{self.bucket.lower()}.")
        return in_host or parts.path.rstrip("/").endswith(f"/{self.bucket}")


def read() -> ObjectStore:
    """The settings as the environment has them; a wrong value is among its mistakes."""
    schemes = ("https", "http")
    return ObjectStore(
        bucket=setting("S3_BUCKET"),
        endpoint=address("AWS_S3_ENDPOINT_URL", schemes=schemes),
        public_endpoint=address("S3_PUBLIC_ENDPOINT_URL", schemes=schemes, bare=True),
        region=setting("AWS_DEFAULT_REGION") or setting("AWS_REGION"),
        addressing_style=choice("S3_ADDRESSING_STYLE", ADDRESSING_STYLES[0], ADDRESSING_STYLES),
        links=choice("S3_LINKS", LINKS[0], LINKS),
    )
