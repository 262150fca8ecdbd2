"""A lookup for many ids at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db.models import ForeignKey, Lookup, UUIDField

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.models.sql.compiler import SQLCompiler

    UUIDLookup = Lookup[Any]
else:
    UUIDLookup = Lookup


@ForeignKey.register_lookup
@UUIDField.register_lookup
class AnyOf(UUIDLookup):
    """`= ANY (array)`: as `in`, but one parameter however many ids there are."""

    lookup_name = "any_of"
    prepare_rhs = False

    def as_sql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper) -> tuple[str, tuple[Any, ...]]:
        left, parameters = self.process_lhs(compiler, connection)
        return f"{left} = ANY (%s::uuid[])", (*parameters, list(map(str, self.rhs)))
