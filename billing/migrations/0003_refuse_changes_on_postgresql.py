"""On PostgreSQL a trigger refuses UPDATE and DELETE of ledger rows and prices, whoever asks.

SQLite has one user, the application, and its querysets refuse the same.
"""

from typing import Any

from django.db import migrations

TABLES = ("billing_ledgerentry", "billing_price")

FUNCTION = """
CREATE FUNCTION ecohash_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: add a row instead', TG_TABLE_NAME
        USING ERRCODE = 'integrity_constraint_violation';
END $$;
"""


def add_triggers(_apps: Any, schema_editor: Any) -> None:
    if schema_editor.connection.vendor != "postgresql":
        return
    schema_editor.execute(FUNCTION, params=None)  # its % is not a placeholder
    for table in TABLES:
        schema_editor.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION ecohash_refuse_change()"
        )


def remove_triggers(_apps: Any, schema_editor: Any) -> None:
    if schema_editor.connection.vendor != "postgresql":
        return
    for table in TABLES:
        schema_editor.execute(f"DROP TRIGGER {table}_append_only ON {table}")
    schema_editor.execute("DROP FUNCTION ecohash_refuse_change()")


class Migration(migrations.Migration):
    dependencies = [("billing", "0002_default_prices")]
    operations = [migrations.RunPython(add_triggers, remove_triggers)]
