"""The site of nginx: no log has one-time links or phone numbers."""

from __future__ import annotations

import re
from typing import Final

from tests.project.deploy.sample_files import DEPLOY

SITE: Final = (DEPLOY / "nginx.conf").read_text()


def test_no_server_logs_links_or_what_was_searched() -> None:
    logs = re.findall(r"^    access_log (.+);$", SITE, re.MULTILINE)
    assert len(logs) == SITE.count("server {")
    assert set(logs) == {"/var/log/nginx/engagement.log without_query if=$is_logged", "off"}
