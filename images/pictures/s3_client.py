"""How we speak to an S3, Amazon's or another's: addresses, timeouts, checksums. Nothing here imports Django.

The settings ask it where links lead, and the storage uses the same rules, so that both name one address.
"""

from typing import Any
from urllib.parse import urlsplit

import botocore.session
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import BotoCoreError

# One retry, on a connection of its own: the first may have been one that a firewall dropped.
ATTEMPTS = 2
CONNECT_SECONDS = 3.0


def client_config(
    *, endpoint: str | None, addressing_style: str, timeout_seconds: float, connections: int = 10
) -> Config:
    """The settings of a client of botocore's; one attempt takes half of `timeout_seconds` for each wait.

    `auto` is path-style at an endpoint of one's own, for a bucket's host name needs DNS there, and
    virtual-host style at Amazon. Its own `auto` signs for the global host, which knows no opt-in region.
    """
    own_rule = "path" if endpoint else "virtual"
    wait = timeout_seconds / ATTEMPTS
    # boto3-stubs has a type for it, which exists only for a type checker.
    s3: Any = {
        "addressing_style": own_rule if addressing_style == "auto" else addressing_style,
        "us_east_1_regional_endpoint": "regional",
    }
    return Config(
        signature_version="s3v4",
        s3=s3,
        connect_timeout=min(CONNECT_SECONDS, wait),
        read_timeout=wait,
        retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
        tcp_keepalive=True,
        max_pool_connections=connections,
        # Stores that are not Amazon's answer 400 or 501 to the headers of the newer checksums.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )


def links_origin(
    *, bucket: str, endpoint: str | None, region: str | None, addressing_style: str
) -> str:
    """Scheme, host and port that a presigned link names.

    Raises:
        ValueError: there is no such address; the message is the end of a sentence.
    """
    config = client_config(
        endpoint=endpoint, addressing_style=addressing_style, timeout_seconds=1
    ).merge(Config(signature_version=UNSIGNED))
    try:
        client: Any = botocore.session.get_session().create_client(
            "s3", region_name=region, endpoint_url=endpoint, config=config
        )
        link = client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "a"})
    except (BotoCoreError, ValueError) as error:
        raise ValueError(str(error)) from error
    parts = urlsplit(link)
    return f"{parts.scheme}://{parts.netloc}"
