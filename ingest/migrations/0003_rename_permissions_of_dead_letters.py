"""Rename the permissions of dead letters, so that users and groups keep them."""

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

OLD, NEW = "setasideevent", "deadletter"


def rename(apps: Apps, old: str, new: str, label: str) -> None:
    permissions = apps.get_model("auth", "Permission").objects
    for act in ("add", "change", "delete", "view"):
        # None exist yet while a new database is made.
        permissions.filter(
            content_type__app_label="ingest", codename=f"{act}_{old}"
        ).update(codename=f"{act}_{new}", name=f"Can {act} {label}")


def forwards(apps: Apps, editor: BaseDatabaseSchemaEditor) -> None:
    rename(apps, OLD, NEW, "dead letter")


def backwards(apps: Apps, editor: BaseDatabaseSchemaEditor) -> None:
    rename(apps, NEW, OLD, "event set aside")


class Migration(migrations.Migration):
    dependencies = [
        ("ingest", "0002_rename_dead_letters"),
        ("auth", "0012_alter_user_first_name_max_length"),
    ]

    operations = [migrations.RunPython(forwards, backwards)]
