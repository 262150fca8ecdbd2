"""Sentences of the admin's log: English in the table, in the reader's language on pages."""

from __future__ import annotations

from functools import partial
from uuid import UUID

import pytest
from django.utils import translation

from engagement.admin import admin_log as log
from engagement.admin.admin_log import english, shown_sentence

ID = UUID("01a228ab-a7fc-7461-8126-9937fa9c3eea")
VALUES = {
    "id": ID,
    "type": "goodbye",
    "backend": "console",
    "cancelled": 2,
    "list": "users",
    "filters": "Filtered by state: dormant.",
}


exported = partial(log.exported, filters="", is_complete=True)


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        (english(log.OPTED_OUT), "Descadastrado."),
        (english(log.OPTED_OUT_CANCELLED, number=1), "Descadastrado; 1 mensagem pendente cancelada."),
        (
            english(log.OPTED_OUT_CANCELLED, number=2000),
            "Descadastrado; 2.000 mensagens pendentes canceladas.",
        ),
        (english(log.RETRIED, id=ID, type="goodbye"), f"Nova tentativa da mensagem {ID} (despedida)."),
        (english(log.RESUMED, backend="console"), "Envio por console retomado."),
        (
            english(log.RUN_UNDONE, number=1, cancelled=2000),
            "Desfeita para 1 usuário; despedidas não enviadas canceladas: 2.000.",
        ),
        (exported(rows=1, name="users"), "1 linha da lista usuários exportada."),
        (exported(rows=2000, name="users"), "2.000 linhas da lista usuários exportadas."),
        (
            exported(rows=2, name="runs", filters="Filtered by status: failed. Searched for x."),
            "2 linhas da lista execuções exportadas. Filtered by status: failed. Searched for x.",
        ),
        (
            exported(rows=2, name="messages", is_complete=False),
            "2 linhas da lista mensagens exportadas. A exportação foi interrompida.",
        ),
        (
            exported(rows=3, name="users", filters="Selected rows.", is_complete=False),
            "3 linhas da lista usuários exportadas. Selected rows. A exportação foi interrompida.",
        ),
        (log.LINK_MADE, "Link de uso único criado."),
        (log.LINK_SENT, "Link de uso único enviado por e-mail."),
        ("Changed by another program.", "Changed by another program."),
    ],
)
def test_sentence_is_stored_in_english_and_shown_in_the_language_of_the_reader(
    stored: str, shown: str
) -> None:
    with translation.override("pt-br"):
        assert shown_sentence(stored) == shown
    with translation.override("en"):
        assert shown_sentence(stored) == stored


@pytest.mark.parametrize("sentence", log.SENTENCES)
def test_every_sentence_is_recognised(sentence: str | tuple[str, str]) -> None:
    for number in (1, 2000):
        with translation.override("pt-br"):
            stored = english(sentence, number=number, **VALUES)
            assert shown_sentence(stored) != stored


def test_sentence_is_english_whoever_acts() -> None:
    with translation.override("pt-br"):
        assert english(log.CANCELLED_ALL, number=1234) == "Cancelled 1,234 pending messages."
