"""What requests to other services share: the proxy of the environment, and a deadline. Knows no users."""

from __future__ import annotations

from threading import Thread
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def within(seconds: float, work: Callable[[], T], *, name: str) -> T | None:
    """The result of `work`; None if it takes longer than `seconds`, or raises.

    A socket timeout starts anew with each byte and does not cover the DNS lookup. So the work has a
    thread of its own, called `name`, which is abandoned when the time is over.
    """
    results: list[T] = []
    thread = Thread(target=lambda: results.append(work()), daemon=True, name=name)
    thread.start()
    thread.join(seconds)
    return results[0] if results else None


def new_pool(url: str) -> urllib3.PoolManager:
    """New connections to a server, through the proxy that the environment names (HTTPS_PROXY, NO_PROXY)."""
    parts = urlsplit(url)
    proxy = getproxies().get(parts.scheme)
    if not proxy or proxy_bypass(parts.netloc):
        return urllib3.PoolManager()
    return urllib3.ProxyManager(proxy if "://" in proxy else f"http://{proxy}")
