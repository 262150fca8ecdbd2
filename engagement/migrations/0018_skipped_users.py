from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models

VISIBLE = r"[^\u0001-\u0020\u007F-\u00A0\u00AD\u1680\u2000-\u200F\u2028-\u202F\u205F-\u206F\u3000\uFEFF]"


class Migration(migrations.Migration):
    # Each in a transaction of its own, without keeping other programs from writing.
    atomic = False

    dependencies = [
        ("engagement", "0017_still_due"),
    ]

    operations = [
        AddIndexConcurrently(
            model_name="userprofile",
            index=models.Index(
                condition=models.Q(
                    ("reengagement_opt_out", True),
                    ("whatsapp_jid__isnull", True),
                    models.Q(("whatsapp_jid__regex", VISIBLE), _negated=True),
                    _connector="OR",
                ),
                fields=["user_id"],
                name="profile_skipped_idx",
            ),
        ),
        RemoveIndexConcurrently(
            model_name="userprofile",
            name="profile_left_alone_idx",
        ),
    ]
