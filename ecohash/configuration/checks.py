"""System checks of the whole installation: stand-ins in production, VAR_DIR, the mail server, and where links lead."""

import stat
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004 - Django's name

from ecohash.configuration import development, mail_servers
from ecohash.configuration.mail_servers import MailServer

# These write nothing.
KEPT_NOWHERE = {"blank", "miniature"}


@register()
def stand_ins(**_kwargs: Any) -> list[CheckMessage]:
    """ecohash.W001: production runs on a stand-in, because ALLOWED_STAND_INS names it."""
    if not settings.PRODUCTION:
        return []
    return [
        Warning(
            f"{one.problem} ALLOWED_STAND_INS allows it.", hint=f"{one.remedy}.", id="ecohash.W001"
        )
        for one in settings.STAND_INS
    ]


@register()
def var_dir(**_kwargs: Any) -> list[CheckMessage]:
    """ecohash.E001 and W002: the folder that holds secrets, database, images and mails."""
    if settings.PRODUCTION and not {one.name for one in settings.STAND_INS} - KEPT_NOWHERE:
        return []
    try:
        development.make_private_folder(settings.VAR_DIR)
        rights = settings.VAR_DIR.stat().st_mode
    except OSError as error:
        return [Error(development.var_dir_problem(error), id="ecohash.E001")]
    if rights & (stat.S_IRWXG | stat.S_IRWXO):
        return [
            Warning(
                f"VAR_DIR ({settings.VAR_DIR}) is open to other users of this machine.",
                hint=f"It holds secrets: chmod 700 {settings.VAR_DIR}",
                id="ecohash.W002",
            )
        ]
    return []


@register()
def mail_server(**_kwargs: Any) -> list[CheckMessage]:
    """ecohash.W003: port and encryption of EMAIL_URL do not fit, or its password is sent in the open."""
    server: MailServer | None = settings.MAIL_SERVER
    if server is None or not (doubt := mail_servers.doubt(server)):
        return []
    return [Warning(doubt, hint="See the mail servers in docs/operations.md.", id="ecohash.W003")]


@register()
def object_store(**_kwargs: Any) -> list[CheckMessage]:
    """ecohash.W004: links to images lead to an address that browsers cannot open."""
    if problem := unreachable(settings.OBJECT_STORE.links_origin, base_url=settings.BASE_URL):
        return [
            Warning(
                f"Links to images lead to {settings.OBJECT_STORE.links_origin}: {problem}.",
                hint=(
                    "Set S3_PUBLIC_ENDPOINT_URL to the address that browsers reach, or "
                    "S3_LINKS=stream, so that the web tier sends the images."
                ),
                id="ecohash.W004",
            )
        ]
    return []


def unreachable(links_origin: str, *, base_url: str) -> str:
    """Why a browser on a page of ours cannot load an image from there; empty where it can."""
    parts, ours = urlsplit(links_origin), urlsplit(base_url)
    host = parts.hostname or ""
    if not host or host == ours.hostname:
        return ""
    if ours.scheme == "https" and parts.scheme == "http":
        return "pages under https load no images over http"
    local = host == "localhost" or host.endswith(".localhost")
    if not local and "." not in host and ":" not in host:
        return f"only machines of your own network know the name {host}"
    return ""
