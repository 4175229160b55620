"""Idempotency keys of creations at Stripe: a table of its own, for all kinds of objects.

The previous release counts those of refunds in `refund.key_number`; a later one may drop the column.
"""

import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("billing", "0011_one_outbox")]

    operations = [
        migrations.CreateModel(
            name="CreationKey",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("identity", models.CharField(max_length=255, unique=True)),
                ("number", models.PositiveIntegerField(default=1)),
                ("changed_at", models.DateTimeField(default=django.utils.timezone.now)),
            ],
            options={
                "verbose_name": "idempotency key of a creation",
                "verbose_name_plural": "idempotency keys of creations",
            },
        ),
        migrations.AlterField(
            model_name="refund",
            name="key_number",
            field=models.PositiveIntegerField(
                default=1,
                db_default=1,
                editable=False,
                help_text="For the previous release alone; see CreationKey. A later one may drop it.",
            ),
        ),
    ]
