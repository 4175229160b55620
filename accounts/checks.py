"""System checks of the accounts app."""

from typing import Any

from django.conf import settings
from django.core.checks import Error, register


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
