"""Segments, and the triggers by which every writer tells of what it wrote into one.

A trigger asks in a snapshot of its own, taken after the write: it sees each segment that
was announced before, and who announces one waits for the writers that came earlier. A
writer with an older snapshot, in another isolation, names what it wrote without asking.
"""

import django.db.models.deletion
from django.db import migrations, models

SLOTS = [f"{kind}_{number}" for kind in ("integer", "float") for number in range(1, 9)]
# Connections have every statement planned anew: that would cost more than the update.
PLANNED_ONCE = "SET plan_cache_mode = force_generic_plan"
COVERING = """
    SELECT each.model_key, each.lowest_id, each.highest_id
    FROM inferences_segment AS each
    WHERE each.model_key = {0}.model_key AND each.highest_id >= {0}.id
    ORDER BY each.highest_id LIMIT 1
"""
BY_INSERT = f"""
CREATE FUNCTION inferences_touch_segments() RETURNS trigger LANGUAGE plpgsql
{PLANNED_ONCE} AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        INSERT INTO inferences_segmenttouch (model_key, lowest_id, highest_id)
        SELECT model_key, min(id), max(id) FROM written GROUP BY model_key;
        RETURN NULL;
    END IF;
    -- Live rows lie above every segment: that is all there is to find out.
    IF EXISTS (
        SELECT FROM inferences_segment AS each
        JOIN (SELECT model_key, min(id) AS id FROM written GROUP BY model_key) AS oldest
        ON each.model_key = oldest.model_key AND each.highest_id >= oldest.id
    ) THEN
        INSERT INTO inferences_segmenttouch (model_key, lowest_id, highest_id)
        SELECT DISTINCT segment.model_key, segment.lowest_id, segment.highest_id
        FROM written CROSS JOIN LATERAL ({COVERING.format("written")}) AS segment;
    END IF;
    RETURN NULL;
END $$
"""
BY_UPDATE = f"""
CREATE FUNCTION inferences_touch_segment() RETURNS trigger LANGUAGE plpgsql
{PLANNED_ONCE} AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        INSERT INTO inferences_segmenttouch (model_key, lowest_id, highest_id)
        VALUES (NEW.model_key, NEW.id, NEW.id);
        RETURN NULL;
    END IF;
    -- One touch a segment and transaction: nobody deletes what is not yet committed.
    INSERT INTO inferences_segmenttouch (model_key, lowest_id, highest_id)
    SELECT segment.model_key, segment.lowest_id, segment.highest_id
    FROM ({COVERING.format("NEW")}) AS segment
    WHERE NOT EXISTS (
        SELECT FROM inferences_segmenttouch AS own
        WHERE own.model_key = segment.model_key AND own.lowest_id = segment.lowest_id
        AND own.highest_id = segment.highest_id AND own.xmin = pg_current_xact_id()::xid);
    RETURN NULL;
END $$
"""


def bounds():
    for number in range(1, 9):
        for edge in ("lowest", "highest"):
            yield f"integer_{number}_{edge}", models.BigIntegerField(null=True)
        for edge in ("lowest", "highest"):
            yield f"float_{number}_{edge}", models.FloatField(null=True)


def of_model():
    return models.ForeignKey(
        db_column="model_key",
        db_index=False,
        on_delete=django.db.models.deletion.CASCADE,
        related_name="+",
        to="inferences.registeredmodel",
    )


class Migration(migrations.Migration):
    dependencies = [("inferences", "0013_save_views")]

    operations = [
        migrations.CreateModel(
            name="Segment",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "registered_model",
                        "highest_id",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("lowest_id", models.BigIntegerField()),
                ("highest_id", models.BigIntegerField()),
                (
                    "built_at",
                    models.DateTimeField(
                        help_text="Null: bounds are not known.", null=True
                    ),
                ),
                *bounds(),
                ("registered_model", of_model()),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("lowest_id__lte", models.F("highest_id"))),
                        name="segment_range_ordered",
                    )
                ]
            },
        ),
        migrations.CreateModel(
            name="SegmentTouch",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                ("lowest_id", models.BigIntegerField()),
                ("highest_id", models.BigIntegerField()),
                ("registered_model", of_model()),
            ],
            options={
                "indexes": [
                    models.Index(
                        models.F("registered_model"),
                        models.F("lowest_id"),
                        models.F("highest_id"),
                        name="segment_touch_by_id",
                    )
                ]
            },
        ),
        migrations.RunSQL(BY_INSERT, "DROP FUNCTION inferences_touch_segments"),
        migrations.RunSQL(BY_UPDATE, "DROP FUNCTION inferences_touch_segment"),
        migrations.RunSQL(
            "CREATE TRIGGER touch_segments AFTER INSERT ON inferences_inference "
            "REFERENCING NEW TABLE AS written FOR EACH STATEMENT "
            "EXECUTE FUNCTION inferences_touch_segments()",
            "DROP TRIGGER touch_segments ON inferences_inference",
        ),
        # By row, as this fires for these columns alone; hiding and protecting, which
        # write thousands of rows, name none of them.
        migrations.RunSQL(
            f"CREATE TRIGGER touch_segment AFTER UPDATE OF {', '.join(SLOTS)} "
            "ON inferences_inference FOR EACH ROW "
            "EXECUTE FUNCTION inferences_touch_segment()",
            "DROP TRIGGER touch_segment ON inferences_inference",
        ),
    ]
