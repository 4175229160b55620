"""System checks of the whole installation: stand-ins in production, VAR_DIR, and the mail server."""

import stat
from typing import Any

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
