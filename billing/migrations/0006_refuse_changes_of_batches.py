"""On PostgreSQL triggers refuse to change what a sealed batch holds, to delete it, and to move an image from one
batch to another, whoever asks.
"""

from typing import Any

from django.db import migrations

FUNCTIONS = (
    """
CREATE FUNCTION ecohash_keep_batch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' OR (OLD.organization_id, OLD.price_id, OLD.quantity, OLD.first_captured_at,
        OLD.last_captured_at, OLD.sealed_at) IS DISTINCT FROM (NEW.organization_id, NEW.price_id,
        NEW.quantity, NEW.first_captured_at, NEW.last_captured_at, NEW.sealed_at) THEN
        RAISE EXCEPTION 'a sealed usage batch never changes' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
""",
    """
CREATE FUNCTION ecohash_keep_hold_in_batch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.usage_batch_id IS NOT NULL AND OLD.usage_batch_id IS DISTINCT FROM NEW.usage_batch_id THEN
        RAISE EXCEPTION 'an image stays in its usage batch' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
""",
)
TRIGGERS = (
    """CREATE TRIGGER billing_usagebatch_kept BEFORE UPDATE OR DELETE ON billing_usagebatch
    FOR EACH ROW EXECUTE FUNCTION ecohash_keep_batch()""",
    """CREATE TRIGGER billing_hold_kept BEFORE UPDATE OF usage_batch_id ON billing_hold
    FOR EACH ROW EXECUTE FUNCTION ecohash_keep_hold_in_batch()""",
)
REMOVALS = (
    "DROP TRIGGER billing_usagebatch_kept ON billing_usagebatch",
    "DROP TRIGGER billing_hold_kept ON billing_hold",
    "DROP FUNCTION ecohash_keep_batch()",
    "DROP FUNCTION ecohash_keep_hold_in_batch()",
)


def add_triggers(_apps: Any, schema_editor: Any) -> None:
    if schema_editor.connection.vendor == "postgresql":
        for statement in (*FUNCTIONS, *TRIGGERS):
            schema_editor.execute(statement, params=None)


def remove_triggers(_apps: Any, schema_editor: Any) -> None:
    if schema_editor.connection.vendor == "postgresql":
        for statement in REMOVALS:
            schema_editor.execute(statement, params=None)


class Migration(migrations.Migration):
    dependencies = [("billing", "0005_subscriptions_and_usage")]
    operations = [migrations.RunPython(add_triggers, remove_triggers)]
