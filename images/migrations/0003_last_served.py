"""The model is named LastServed; its table stays as it is, so nothing changes in the database."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("images", "0002_idempotency_and_turns")]

    operations = [
        migrations.AlterModelTable("turn", "images_turn"),
        migrations.RenameModel("Turn", "LastServed"),
        migrations.AlterField(
            "lastserved",
            "organization",
            models.OneToOneField(
                on_delete=django.db.models.deletion.CASCADE,
                primary_key=True,
                related_name="last_served",
                serialize=False,
                to="accounts.organization",
            ),
        ),
    ]
