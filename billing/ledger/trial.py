"""Trial credit: once for a mailbox, and a few times a day for a network. Where it is refused, staff can grant credit."""

import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F

from accounts.http.addresses import Address, network_of
from accounts.models import Organization
from accounts.sign_in import mailboxes
from billing.ledger import grants
from billing.models import Credit, LedgerEntry, Trial, TrialNetwork

# A customer of a hosting provider can often take other addresses inside these.
WIDE_PREFIX = {4: 24, 6: 48}
NETWORKS_KEPT = timedelta(days=7)

Outcome = Trial.Outcome


class NetworkUsedUp(Exception):
    """The network has had all trial credits of the day."""


def decide(*, organization: Organization, email: str, address: Address | None) -> Trial | None:
    """Grant the trial credit, or note why not. Once for an organization: later calls return what was decided.

    `email` is verified, and `address` is where that was done. None where the installation gives no trial credit.
    """
    if not settings.TRIAL_CREDIT_MICROS:
        return None
    with transaction.atomic():
        # One at a time for an organization: the link in the mail may be opened twice at once.
        Credit.objects.select_for_update().get(organization=organization)
        decided = Trial.objects.filter(organization=organization).first()
        if decided:
            return decided
        if _granted_at_sign_up(organization):
            return note_granted(organization=organization, email=email)
        return _decide(organization, email, address)


def note_granted(*, organization: Organization, email: str) -> Trial:
    """Remember that the organization had trial credit in another way, and that the mailbox had it too."""
    mailbox = None if _mailbox_used(email) else _mailbox_digest(email)
    try:
        with transaction.atomic():
            return _record(organization, Outcome.GRANTED, mailbox)
    except IntegrityError:
        return _record(organization, Outcome.GRANTED, None)


def remove_old_networks() -> int:
    """Forget which networks had how many in days that nobody counts any more; returns how many rows went."""
    before = datetime.now(UTC).date() - NETWORKS_KEPT
    removed, _ = TrialNetwork.objects.filter(day__lt=before).delete()
    return removed


def _decide(organization: Organization, email: str, address: Address | None) -> Trial:
    if _mailbox_used(email):
        return _record(organization, Outcome.MAILBOX_USED, _mailbox_digest(email))
    try:
        with transaction.atomic():
            _count_networks(address)
            trial = _record(organization, Outcome.GRANTED, _mailbox_digest(email))
            grants.grant(
                organization=organization,
                amount_micros=settings.TRIAL_CREDIT_MICROS,
                reason=grants.TRIAL_REASON,
            )
    except NetworkUsedUp:
        return _record(organization, Outcome.NETWORK_USED_UP, _mailbox_digest(email))
    except IntegrityError:
        # The constraint decides where two accounts of one mailbox are verified at once.
        return _record(organization, Outcome.MAILBOX_USED, _mailbox_digest(email))
    return trial


def _granted_at_sign_up(organization: Organization) -> bool:
    """Whether an earlier release granted it before the address was verified."""
    entries = LedgerEntry.objects.for_organization(organization)
    return entries.filter(kind=LedgerEntry.Kind.GRANT, reason=grants.TRIAL_REASON).exists()


def _mailbox_used(email: str) -> bool:
    """Whether the mailbox had trial credit; its digest under any of the peppers counts."""
    if not settings.TRIAL_ONE_PER_MAILBOX:
        return False
    return Trial.objects.filter(
        outcome=Outcome.GRANTED, mailbox__in=mailboxes.digests(email)
    ).exists()


def _mailbox_digest(email: str) -> str | None:
    """The mailbox's digest, which is unique; None, which is not, where the operator has turned the rule off."""
    return mailboxes.digests(email)[0] if settings.TRIAL_ONE_PER_MAILBOX else None


def _record(organization: Organization, outcome: Trial.Outcome, mailbox: str | None) -> Trial:
    return Trial.objects.create(organization=organization, outcome=outcome, mailbox=mailbox)


def _count_networks(address: Address | None) -> None:
    """Count one for the address and one for the wider network around it, inside the caller's transaction.

    Raises:
        NetworkUsedUp: one of them had all of today's; roll the transaction back.
    """
    networks = {
        network_of(address): settings.TRIAL_CREDITS_PER_ADDRESS_PER_DAY,
        wide_network(address): settings.TRIAL_CREDITS_PER_NETWORK_PER_DAY,
    }
    day = datetime.now(UTC).date()
    for network, limit in networks.items():
        if not limit:
            continue
        row, _ = TrialNetwork.objects.get_or_create(network=_network_digest(network), day=day)
        # One UPDATE: a look and a write after it would let many at once through.
        available = TrialNetwork.objects.filter(pk=row.pk, granted__lt=limit)
        if not available.update(granted=F("granted") + 1):
            raise NetworkUsedUp


def wide_network(address: Address | None) -> str:
    """The /24 around an IPv4 address, the /48 around an IPv6 one: `203.0.113.0/24`."""
    if address is None:
        return "unknown network"
    return str(ip_network(f"{address}/{WIDE_PREFIX[address.version]}", strict=False))


def _network_digest(network: str) -> str:
    pepper = settings.KEY_PEPPERS[max(settings.KEY_PEPPERS)]
    return hmac.new(pepper.encode(), f"network:{network}".encode(), hashlib.sha256).hexdigest()
