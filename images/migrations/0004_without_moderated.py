"""No generation ends as `moderated`: a prompt is refused before there is a job.

No release wrote that status, so the previous one runs beside this constraint.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("images", "0003_last_served")]

    operations = [
        migrations.RemoveConstraint(
            model_name="generation",
            name="generation_status_and_times_agree",
        ),
        migrations.AlterField(
            model_name="generation",
            name="status",
            field=models.CharField(
                choices=[
                    ("queued", "Queued"),
                    ("running", "Running"),
                    ("succeeded", "Succeeded"),
                    ("failed", "Failed"),
                    ("canceled", "Canceled"),
                    ("expired", "Expired"),
                ],
                default="queued",
                max_length=16,
            ),
        ),
        migrations.AddConstraint(
            model_name="generation",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("ended_at", None), ("lease_until", None), ("status", "queued")),
                    models.Q(
                        ("attempt__gte", 1),
                        ("ended_at", None),
                        ("lease_until__isnull", False),
                        ("status", "running"),
                    ),
                    models.Q(
                        ("ended_at__isnull", False),
                        ("lease_until", None),
                        ("status__in", ["succeeded", "failed", "canceled", "expired"]),
                    ),
                    _connector="OR",
                ),
                name="generation_status_and_times_agree",
            ),
        ),
    ]
