"""Tables and triggers by which proxies hear of changed settings: ``istore/freshness.py``."""

from __future__ import annotations

from typing import ClassVar

from django.db import migrations

TABLES = """
CREATE TABLE proxy_lease (
    id uuid PRIMARY KEY,
    host text NOT NULL DEFAULT '',
    started_at timestamptz NOT NULL DEFAULT now(),
    heard pg_snapshot NOT NULL DEFAULT pg_current_snapshot(),
    suspected_at timestamptz
);
COMMENT ON TABLE proxy_lease IS
    'Proxies that may answer from memory, and which changes each has heard of.';
CREATE TABLE proxy_change (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    about text NOT NULL
);
COMMENT ON TABLE proxy_change IS
    'Changes of settings that some proxy may not have heard of yet.';

CREATE FUNCTION proxy_announce(subject text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO proxy_change (about) VALUES (subject);
    PERFORM pg_notify('istore_settings', '');
    -- An INFO reaches the client whatever its settings are: it learns without asking
    -- that proxies have something to hear.
    RAISE INFO 'settings changed: %', subject USING ERRCODE = 'ISC01';
END $$;

-- Arguments: the kind; the column whose value names the subject; the column of a group
-- that is told, too, or ''; then the columns that do not matter to a proxy.
CREATE FUNCTION proxy_announce_row() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    old_row jsonb := CASE WHEN TG_OP = 'INSERT' THEN NULL ELSE to_jsonb(OLD) END;
    new_row jsonb := CASE WHEN TG_OP = 'DELETE' THEN NULL ELSE to_jsonb(NEW) END;
    ignored text[] := TG_ARGV[3:];
    subject text;
BEGIN
    IF TG_OP = 'UPDATE' AND old_row - ignored = new_row - ignored THEN
        RETURN NULL;
    END IF;
    FOR subject IN
        SELECT TG_ARGV[0] || ':' || (changed ->> TG_ARGV[1])
        FROM unnest(ARRAY[old_row, new_row]) AS changed WHERE changed IS NOT NULL
        UNION
        SELECT TG_ARGV[0] || 's of ' || (changed ->> TG_ARGV[2])
        FROM unnest(ARRAY[old_row, new_row]) AS changed
        WHERE changed IS NOT NULL AND TG_ARGV[2] <> ''
    LOOP
        PERFORM proxy_announce(subject);
    END LOOP;
    RETURN NULL;
END $$;
"""

TABLES_GONE = """
DROP FUNCTION proxy_announce_row();
DROP FUNCTION proxy_announce(text);
DROP TABLE proxy_change;
DROP TABLE proxy_lease;
"""

# Table, events, arguments. What is not remembered when it is absent (tokens, sessions)
# needs no word when it comes.
TRIGGERS = (
    ("istore_project", "UPDATE OR DELETE", ("project", "id", "")),
    ("istore_token", "UPDATE OR DELETE", ("token", "id", "", "last_used_at")),
    (
        "inferences_registeredmodel",
        "INSERT OR UPDATE OR DELETE",
        (
            "model",
            "id",
            "project_key",
            "keys_version",
            "first_id",
            "blob_gone_before",
            "awaits_truth",
            "updated_at",
        ),
    ),
    ("services_inferenceservice", "UPDATE OR DELETE", ("service", "id", "")),
    (
        "services_inferencesession",
        "UPDATE OR DELETE",
        ("session", "id", "", "reason", "ready_at"),
    ),
    ("services_sessiontoken", "UPDATE OR DELETE", ("session-token", "id", "")),
    (
        "services_replica",
        "INSERT OR UPDATE OR DELETE",
        ("session", "session_id", "port", "said", "starts", "updated_at"),
    ),
)


def trigger(table: str, events: str, arguments: tuple[str, ...]) -> migrations.RunSQL:
    given = ", ".join(f"'{each}'" for each in arguments)
    return migrations.RunSQL(
        f"CREATE TRIGGER announce_to_proxies AFTER {events} ON {table}"
        f" FOR EACH ROW EXECUTE FUNCTION proxy_announce_row({given})",
        f"DROP TRIGGER announce_to_proxies ON {table}",
    )


class Migration(migrations.Migration):
    dependencies: ClassVar = [
        ("istore", "0001_initial"),
        ("inferences", "0001_initial"),
        ("services", "0001_initial"),
    ]
    operations: ClassVar = [
        migrations.RunSQL(TABLES, TABLES_GONE),
        *(trigger(*each) for each in TRIGGERS),
    ]
