"""Whether a caller may still make pictures: with a key and from where, or as a member of an organization.

A caller decides how slowly its body arrives, and a key may be revoked meanwhile. So each call is judged
twice: before its body is read, and once more when all of it is there, with the row locked in the
transaction that reserves money. See docs/decisions/0027-judged-again-after-the-body.md.
"""

from accounts.http.addresses import Address, is_within
from accounts.http.refusals import Refusal
from accounts.keys.authentication import InvalidApiKey
from accounts.keys.wrong_keys import ended_key_text
from accounts.models import ApiKey, Membership, Organization, User

GENERATE = "generate"


class InsufficientPermissions(Refusal):
    """The key is valid, but may not be used for this call."""

    status = 403
    code = "insufficient_permissions"


class NotAMember(Refusal):
    """The user of a page was deactivated, or removed from the organization, while the form was sent."""

    status = 403
    text = (
        "Your account may not act for this organization any more. Nothing was charged. "
        "Ask an owner to invite you again."
    )


# Why a caller may not, or may not any more.
REFUSALS = (InvalidApiKey, InsufficientPermissions, NotAMember)


def check_permissions(*, key: ApiKey, scope: str | None, address: Address | None) -> None:
    """Whether the key may be used for this, and from there.

    Raises:
        InsufficientPermissions: it lacks the scope, or the address is in none of its networks.
    """
    if scope is not None and scope not in key.scopes:
        raise InsufficientPermissions(
            f"This API key lacks the scope '{scope}'. "
            "Allow it on the dashboard's Keys page, or use another key."
        )
    if key.allowed_networks and not is_within(address, key.allowed_networks):
        came_from = f"came from {address}" if address else "came from no known address"
        raise InsufficientPermissions(
            f"This API key works from certain networks only, and this call {came_from}. "
            "Call from one of them, or add your network on the dashboard's Keys page."
        )


def key_now(*, key: ApiKey, scope: str, address: Address | None, lock: bool = False) -> ApiKey:
    """The key as it is now, with its organization, if it may still be used for this and from there.

    `lock`, inside a transaction: whoever revokes or changes it waits for the end of that transaction, so
    that nothing is admitted after a revocation has returned.

    Raises:
        InvalidApiKey: it was revoked, suspended or deleted, or it has expired.
        InsufficientPermissions: see `check_permissions`.
    """
    rows = ApiKey.objects.live().select_related("organization").filter(pk=key.pk)
    if lock:
        rows = rows.select_for_update(of=("self",), no_key=True)
    row = rows.first()
    if row is None:
        raise InvalidApiKey(ended_key_text(ApiKey.objects.filter(pk=key.pk).first()))
    check_permissions(key=row, scope=scope, address=address)
    return row


def lock_member(*, user: User, organization: Organization) -> None:
    """Lock the membership of an active member of the organization until the transaction ends.

    Raises:
        NotAMember
    """
    rows = Membership.objects.filter(user=user, organization=organization, user__is_active=True)
    rows = rows.select_related("user").select_for_update(of=("self", "user"), no_key=True)
    if rows.first() is None:
        raise NotAMember
