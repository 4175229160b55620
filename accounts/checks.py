"""System checks of the accounts app."""

from typing import Any

from django.conf import settings
from django.core.checks import Error, register

from accounts.keys import leak_signatures


@register()
def pepper_is_set(**_kwargs: Any) -> list[Error]:
    """accounts.E001: without a pepper no key can be made or found."""
    if settings.KEY_PEPPERS and all(settings.KEY_PEPPERS.values()):
        return []
    return [
        Error(
            "KEY_PEPPER is empty.",
            hint="Set it to 1:<at least 32 random characters>; changing it later revokes every key.",
            id="accounts.E001",
        )
    ]


@register()
def public_keys_of_leak_reports(**_kwargs: Any) -> list[Error]:
    """accounts.E002: reports of leaked keys would be refused, because none could be verified."""
    if not settings.LEAK_REPORT_PUBLIC_KEYS:
        return []
    try:
        leak_signatures.public_keys()
    except leak_signatures.InvalidPublicKeys as error:
        return [
            Error(
                f"LEAK_REPORT_PUBLIC_KEYS names a file that cannot be used. {error}",
                hint="Fetch it anew from https://api.github.com/meta/public_keys/secret_scanning, "
                "or unset it to take no reports.",
                id="accounts.E002",
            )
        ]
    return []
