"""Remember which mailboxes had trial credit before each had it only once. Nobody's credit changes."""

from typing import Any

from django.db import migrations

from accounts.sign_in import mailboxes

BATCH = 1_000


def remember(apps: Any, _schema_editor: Any) -> None:
    Membership = apps.get_model("accounts", "Membership")
    LedgerEntry = apps.get_model("billing", "LedgerEntry")
    Trial = apps.get_model("billing", "Trial")
    had_it = LedgerEntry.objects.filter(kind="grant", reason="Trial credit at sign-up")
    owners = (
        Membership.objects.filter(
            role="owner", organization__in=had_it.order_by().values("organization")
        )
        .order_by("pk")
        .values_list("organization", "user__email")
    )
    organizations, rows = set(), {}
    for organization, email in owners.iterator(BATCH):
        mailbox = mailboxes.digests(email)[0]
        if organization not in organizations and mailbox not in rows:
            organizations.add(organization)
            rows[mailbox] = Trial(organization_id=organization, outcome="granted", mailbox=mailbox)
    Trial.objects.bulk_create(rows.values(), batch_size=BATCH, ignore_conflicts=True)


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0002_limits_scopes_and_expiry"),
        ("billing", "0008_trials"),
    ]

    operations = [migrations.RunPython(remember, migrations.RunPython.noop)]
