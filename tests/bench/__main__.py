"""`python -m tests.bench`: measure, print, and keep the result."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import django
from django.core.management import call_command
from django.db import connection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.bench.contenders import Contender
    from tests.bench.measuring import Measurement

DATABASE: Final = "engagement_bench"


def main() -> None:
    """Parse, measure, print."""
    arguments = _arguments()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    os.environ.setdefault("LOG_LEVEL", "WARNING")
    django.setup()
    from tests.bench import report

    with scratch_database():
        if arguments.sending:
            from tests.bench import sending

            sys.stdout.write(sending.report(arguments.size))
            return
        if arguments.commands:
            from tests.bench import commands

            sys.stdout.write(commands.report(arguments.size))
            return
        if arguments.webhook:
            from tests.bench import webhook

            sys.stdout.write(webhook.report(arguments.size))
            return
        if arguments.profile:
            from tests.bench.profile import profile

            sys.stdout.write(report.profile_text(profile(arguments.size), size=arguments.size))
            return
        result = report.Result(
            size=arguments.size,
            rounds=arguments.rounds,
            contenders=compare(arguments.size, arguments.rounds, only=arguments.only),
            growth={} if arguments.only else growth(arguments.size, arguments.rounds),
            machine=report.machine(),
        )
    sys.stdout.write(report.text(result))
    if arguments.json:
        arguments.json.write_text(report.as_json(result))
    if arguments.svg:
        report.draw(result, arguments.svg)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--size", type=int, default=10_000, help="how many users are due (10000)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each contender runs (3)")
    parser.add_argument("--only", nargs="+", default=[], metavar="WORD", help="contenders with these words")
    parser.add_argument("--profile", action="store_true", help="show where the time of the job goes instead")
    parser.add_argument("--sending", action="store_true", help="measure the sender instead of the job")
    parser.add_argument("--commands", action="store_true", help="measure the other commands instead")
    parser.add_argument("--webhook", action="store_true", help="measure the webhook instead of the job")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    parser.add_argument("--svg", type=Path, help="draw them into this file too")
    arguments = parser.parse_args()
    if arguments.size < MINIMUM_SIZE or arguments.rounds < 1:
        parser.error(f"--size must be {MINIMUM_SIZE} or more, --rounds 1 or more")
    return arguments


MINIMUM_SIZE: Final = 1_000


@contextmanager
def scratch_database() -> Iterator[None]:
    """A database of its own, on the project's server, gone afterwards."""
    main_name = connection.settings_dict["NAME"]
    with connection.cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
        cursor.execute(f"CREATE DATABASE {DATABASE}")
    _use(DATABASE)
    try:
        call_command("migrate", verbosity=0)
        yield
    finally:
        _use(main_name)
        with connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE {DATABASE} WITH (FORCE)")


def _use(name: str) -> None:
    connection.close()
    connection.settings_dict["NAME"] = name


def compare(size: int, rounds: int, *, only: list[str]) -> dict[str, list[Measurement]]:
    """Let the contenders take turns on the same rows; all must leave the same."""
    from tests.bench.contenders import CONTENDERS

    taking_part = [
        contender
        for contender in CONTENDERS
        if (contender.most_users is None or size <= contender.most_users)
        and (not only or any(word in contender.name for word in only))
    ]
    results: dict[str, list[Measurement]] = {contender.name: [] for contender in taking_part}
    expected = None
    for number in range(rounds):
        for contender in taking_part:
            if contender.is_slow and number > 0:
                continue
            measurement, left = _round(contender, users=size, due=size)
            expected = expected or left
            if left != expected:
                raise SystemExit(f"bench: {contender.name} left other rows than {taking_part[0].name}.")
            results[contender.name].append(measurement)
            _say(f"round {number + 1} of {rounds}: {contender.name}: {measurement.seconds:.2f} s")
    return results


def growth(size: int, rounds: int) -> dict[str, Measurement]:
    """What the job costs as its work and the tables grow."""
    from tests.bench.contenders import JOB
    from tests.bench.measuring import median
    from tests.bench.report import Shape

    shapes = {
        Shape.A_TENTH: (size // 10, size // 10),
        Shape.ALL: (size, size),
        Shape.FEW_AMONG_FEW: (10_000, 1_000),
        Shape.FEW_AMONG_MANY: (max(size, 10_000), 1_000),
        Shape.NOBODY: (10_000, 0),
    }
    measured: dict[str, list[Measurement]] = {shape.value: [] for shape in shapes}
    for number in range(rounds):
        for shape, (users, due) in shapes.items():
            measurement, _ = _round(JOB, users=users, due=due)
            measured[shape].append(measurement)
            _say(f"round {number + 1} of {rounds}: {shape}: {measurement.seconds:.2f} s")
    return {name: median(measurements) for name, measurements in measured.items()}


def _round(contender: Contender, *, users: int, due: int) -> tuple[Measurement, tuple[str, ...]]:
    from tests.bench import tables

    tables.fill(users=users, due=due)
    measurement = contender.run()
    if (moved := tables.count_moved()) != due:
        raise SystemExit(f"bench: {contender.name} moved {moved:,} users instead of {due:,}.")
    return measurement, tables.fingerprint()


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    main()
