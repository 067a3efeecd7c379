"""Read the labels and scores of the answers of entries that are there.

Five hundred in a transaction, beside everyone else; it may be cut off and run again.
"""

from typing import Any

from django.db import migrations, transaction

AT_ONCE = 500


def read_answers(apps: Any, schema_editor: Any) -> None:
    from datasets.adding import note_answer  # which reads the models of today

    entries = apps.get_model("datasets", "DatasetEntry").objects
    after = 0
    while True:
        with transaction.atomic():
            some = list(
                entries.filter(id__gt=after, answer_labels=None)
                .select_related("source")
                .select_for_update(of=("self",))
                .order_by("id")[:AT_ONCE]
            )
            for entry in some:
                note_answer(entry)
            entries.bulk_update(some, ["answer_labels", "answer_scores"])
        if len(some) < AT_ONCE:
            return
        after = some[-1].id


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("datasets", "0005_keep_answers_of_entries")]

    operations = [migrations.RunPython(read_answers, migrations.RunPython.noop)]
