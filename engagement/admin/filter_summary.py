"""What a list is filtered by, in words: the theme's button only tells that it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection

    from django.contrib.admin.views.main import ChangeList


def filters_in_words(changelist: ChangeList, *, also: Collection[str]) -> str:
    """`Filtered by state: dormant or in the help flow`, and by what else its address may ask for."""
    told = [(spec.title, _chosen(spec, changelist)) for spec in changelist.filter_specs]
    told += [(name.removesuffix("__exact"), changelist.params.get(name, "")) for name in also]
    words = "; ".join(f"{title}: {chosen}" for title, chosen in told if chosen)
    return f"Filtered by {words}." if words else ""


def _chosen(spec: Any, changelist: ChangeList) -> str:
    """What is asked of one filter; of those that have a list to choose from, the labels."""
    if hasattr(spec, "in_words"):
        return spec.in_words()
    labels = []
    for choices in spec.choices(changelist):
        form = choices["form"]
        for name, field in form.fields.items():
            value = form.data.get(name) or []
            chosen = [value] if isinstance(value, str) else value
            labels += [str(label).lower() for key, label in field.choices if key and key in chosen]
    return " or ".join(labels)
