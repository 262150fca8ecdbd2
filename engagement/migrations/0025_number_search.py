from django.contrib.postgres.indexes import OpClass
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.models.functions import Reverse


def text(*arguments: object, function: str) -> models.Func:
    return models.Func(*arguments, function=function, output_field=models.TextField())


class Migration(migrations.Migration):
    # Without keeping other programs from writing.
    atomic = False

    dependencies = [
        ("engagement", "0024_suppression"),
    ]

    operations = [
        AddIndexConcurrently(
            model_name="userprofile",
            index=models.Index(
                OpClass(
                    Reverse(
                        text(
                            text(
                                text(
                                    "whatsapp_jid", models.Value("@"), models.Value(1), function="split_part"
                                ),
                                models.Value(":"),
                                models.Value(1),
                                function="split_part",
                            ),
                            models.Value("[^0-9]"),
                            models.Value(""),
                            models.Value("g"),
                            function="regexp_replace",
                        )
                    ),
                    name="text_pattern_ops",
                ),
                name="profile_number_end_idx",
            ),
        ),
    ]
