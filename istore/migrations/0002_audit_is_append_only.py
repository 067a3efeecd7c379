"""The audit log has no update and no delete, whoever asks the database."""

from django.db import migrations

REFUSE = """
CREATE FUNCTION istore_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'the audit log is never changed'; END $$
"""
GUARD = """
CREATE TRIGGER audit_is_append_only BEFORE UPDATE OR DELETE ON istore_auditentry
FOR EACH ROW EXECUTE FUNCTION istore_refuse_change()
"""


class Migration(migrations.Migration):
    dependencies = [("istore", "0001_initial")]

    operations = [migrations.RunSQL([REFUSE, GUARD])]
