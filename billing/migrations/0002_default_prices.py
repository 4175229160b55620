"""The prices that a new installation begins with."""

from typing import Any

from django.db import migrations

DEFAULT_PRICES_MICROS = {
    "512x512": 10_000,
    "768x768": 15_000,
    "1024x768": 18_000,
    "768x1024": 18_000,
    "1024x1024": 20_000,
}


def set_default_prices(apps: Any, schema_editor: Any) -> None:
    price = apps.get_model("billing", "Price")
    for size, amount_micros in DEFAULT_PRICES_MICROS.items():
        price.objects.using(schema_editor.connection.alias).create(
            model="flux-1-schnell", size=size, version=1, amount_micros=amount_micros
        )


class Migration(migrations.Migration):
    dependencies = [("billing", "0001_initial")]
    operations = [migrations.RunPython(set_default_prices, migrations.RunPython.noop)]
