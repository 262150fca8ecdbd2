from django.contrib.postgres.indexes import OpClass
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.models.functions import Reverse


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
                        models.Func(
                            "whatsapp_jid",
                            models.Value("@"),
                            models.Value(1),
                            function="split_part",
                            output_field=models.TextField(),
                        )
                    ),
                    name="text_pattern_ops",
                ),
                name="profile_number_end_idx",
            ),
        ),
    ]
