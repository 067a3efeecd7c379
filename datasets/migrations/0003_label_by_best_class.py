"""Entries of classifiers are labelled by the best class of their answers.

Five hundred in a transaction, beside everyone else; it may be cut off and run again, as an
entry that is done has one label. What came true keeps all of its labels.
"""

from typing import Any

from django.db import migrations, transaction

TASKS = ("Image Classification", "Text Classification", "Tabular Classification")
AT_ONCE = 500


def label_again(apps: Any, schema_editor: Any) -> None:
    from datasets.adding import labels_of  # which reads the models of today

    entries = apps.get_model("datasets", "DatasetEntry").objects
    chosen = entries.filter(source__task_type__in=TASKS, labels__len__gt=1)
    after = 0
    while True:
        with transaction.atomic():
            some = list(
                chosen.filter(id__gt=after)
                .select_related("source")
                .select_for_update(of=("self",))
                .order_by("id")[:AT_ONCE]
            )
            for entry in some:
                entry.labels = labels_of(entry) or entry.labels
            entries.bulk_update(some, ["labels"])
        if len(some) < AT_ONCE:
            return
        after = some[-1].id


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("datasets", "0002_number_first_class")]

    operations = [migrations.RunPython(label_again, migrations.RunPython.noop)]
