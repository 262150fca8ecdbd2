import structlog
from django.apps import AppConfig
from django.contrib.postgres.indexes import OpClass
from django.db.models.expressions import OrderBy
from django.db.models.functions import Collate
from django.db.models.indexes import IndexExpression
from django.db.models.signals import post_migrate


class EngagementConfig(AppConfig):
    name = "engagement"
    verbose_name = "Engagement"

    def ready(self) -> None:
        from engagement import system_checks  # noqa: F401  registers them

        # As django.contrib.postgres does, which a project need not have: an index on an expression has a
        # class of operators.
        IndexExpression.register_wrappers(OrderBy, OpClass, Collate)
        if not structlog.is_configured():
            # By default structlog writes to stdout, which belongs to results.
            structlog.configure(
                processors=[structlog.stdlib.filter_by_level, structlog.stdlib.render_to_log_kwargs],
                wrapper_class=structlog.stdlib.BoundLogger,
                logger_factory=structlog.stdlib.LoggerFactory(),
            )
        # Permissions are created after all migrations, so that a migration cannot use them.
        post_migrate.connect(_make_groups, sender=self)


def _make_groups(**options: object) -> None:
    from engagement.groups import make_groups

    make_groups(**options)  # type: ignore[arg-type]  # Django's signal names them, untyped
