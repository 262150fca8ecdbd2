from django.apps import AppConfig
from django.db.models.signals import post_migrate


class EngagementConfig(AppConfig):
    name = "engagement"
    verbose_name = "Engagement"

    def ready(self) -> None:
        from engagement import system_checks  # noqa: F401  registers them

        # Permissions are created after all migrations, so that a migration cannot use them.
        post_migrate.connect(_make_groups, sender=self)


def _make_groups(**options: object) -> None:
    from engagement.groups import make_groups

    make_groups(**options)  # type: ignore[arg-type]  # Django's signal names them, untyped
