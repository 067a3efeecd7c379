from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("istore", "0005_keep_runs_of_verify"),
    ]

    operations = [
        migrations.CreateModel(
            name="LoginFailures",
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
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("user", "User"),
                            ("address", "Address"),
                            ("browser", "Browser"),
                            ("audited", "Audited"),
                        ],
                        max_length=8,
                    ),
                ),
                ("digest", models.CharField(max_length=64)),
                ("failures", models.IntegerField()),
                ("last_at", models.DateTimeField()),
                (
                    "until",
                    models.DateTimeField(help_text="Nothing is looked at before."),
                ),
            ],
            options={
                "verbose_name_plural": "login failures",
                "indexes": [
                    models.Index(models.F("last_at"), name="login_failures_by_age")
                ],
                "constraints": [
                    models.UniqueConstraint(
                        models.F("kind"), models.F("digest"), name="login_failures_once"
                    )
                ],
            },
        ),
    ]
