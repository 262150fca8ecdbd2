"""`manage.py api_token`: make, list and revoke the bearer tokens of the HTTP API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError
from django.utils import timezone

from engagement.formatting import date_text
from engagement.management.base import SentenceCommand, SentenceParser, refuse
from engagement.management.options import identifier
from engagement.models import ApiScope
from engagement.services.api_tokens import InvalidToken, all_tokens, make_token, revoke_token

if TYPE_CHECKING:
    from argparse import ArgumentParser

    from engagement.models import ApiToken


class Command(SentenceCommand):
    help = "Make, list and revoke the bearer tokens of the HTTP API."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(
            dest="action", required=True, metavar="ACTION", parser_class=SentenceParser
        )
        create = actions.add_parser("create", allow_abbrev=False, help="make a token and print it, once")
        create.add_argument("client", metavar="CLIENT", help="who will use it, such as assistant-eu")
        create.add_argument("scopes", nargs="+", metavar="SCOPE", help=", ".join(ApiScope.values))
        actions.add_parser("list", allow_abbrev=False, help="list all tokens, without the secrets")
        revoke = actions.add_parser("revoke", allow_abbrev=False, help="make a token invalid")
        revoke.add_argument("token_id", metavar="TOKEN_ID", type=identifier, help="as `list` shows it")

    def handle(self, *_args: Any, **options: Any) -> None:
        {"create": self._create, "list": self._list, "revoke": self._revoke}[options["action"]](options)

    def _create(self, options: dict[str, Any]) -> None:
        try:
            token, secret = make_token(client=options["client"], scopes=options["scopes"], now=timezone.now())
        except InvalidToken as error:
            refuse(str(error).rstrip("."))
        self.say(f"The token of {token}; it cannot be shown again:")
        if not self.write_result(secret):
            revoke_token(token_id=token.id, now=timezone.now())
            raise CommandError("Nobody has seen the token, so it was revoked. Make another one.")

    def _list(self, _options: dict[str, Any]) -> None:
        if tokens := all_tokens():
            self.write_answer("\n".join(_line(token) for token in tokens))
        else:
            self.say("There are no tokens; make one with: manage.py api_token create CLIENT SCOPE …")

    def _revoke(self, options: dict[str, Any]) -> None:
        if not revoke_token(token_id=options["token_id"], now=timezone.now()):
            raise CommandError(
                f"There is no valid token {options['token_id']}; see manage.py api_token list."
            )
        self.write_result(f"Token {options['token_id']} is revoked.")


def _line(token: ApiToken) -> str:
    used = f"last used {date_text(token.last_used_at)}" if token.last_used_at else "never used"
    state = f"revoked {date_text(token.revoked_at)}" if token.revoked_at else used
    return f"{token.id}  {token}  made {date_text(token.created_at)}, {state}"
