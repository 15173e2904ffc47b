"""How long each page of the admin takes at 50,000 users and 2,000,000 transactions, and at a tenth of them.

    python -m bench.admin [--users 50000] [--rows 2000000] [--rounds 7] [--where DIR]

The pages are asked for through Django's test client in this process, logged in, each ``--rounds`` times after
one that warms up; what is printed is the median, with the queries of one request. Beside it is the same
question to Django's plain admin, which a few lines of registration give, where it has such a page, and how many
times as long it takes as at a tenth of the rows: about 1 for a page that does not grow. Nothing is cached
between the requests; the dashboard, which keeps itself for a minute, is made anew each time. Compare numbers
of one run only.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

import psycopg
from psycopg import sql

from .server import migrated

# A ledger of two years in which every account adds up: a bonus each, a purchase now and then, and usages.
USERS = """
    INSERT INTO public.users (id, name, email, stripe_customer_id, created_at)
    SELECT 'user-' || n, 'Person ' || n, 'person' || n || '@example.org', 'cus_' || n,
           timezone('utc', now()) - interval '2 years' * (1 - n / %(users)s::float)
    FROM generate_series(1, %(users)s) AS n
"""
ROWS = """
    COPY public.credit_transactions
        (user_id, amount, type, operation, resource_id, payer, idempotency_key, created_at) FROM STDIN
"""
SUPER = {"defaults": {"is_staff": True, "is_superuser": True}}
# A page that both fillings have.
DEEP = 90
FIRST = "dashboard, first of an hour"
# Milliseconds that any page may take.
MOST = 150.0
OPERATIONS = ("query.standard", "query.hybrid", "query.premium", "document", "dataset")


def fill(connection: psycopg.Connection[Any], users: int, rows: int) -> None:
    """Load people and a ledger; balances are what the ledger says afterwards."""
    connection.execute("ALTER TABLE public.users DISABLE TRIGGER ALL")
    connection.execute("ALTER TABLE public.credit_transactions DISABLE TRIGGER ALL")
    connection.execute(USERS, {"users": users})
    with connection.cursor().copy(ROWS) as copy:
        for line in _ledger(users, rows):
            copy.write_row(line)
    connection.execute(
        """
        INSERT INTO public.user_credits (user_id, credits, total_credits_purchased)
        SELECT user_id, sum(amount), coalesce(sum(amount) FILTER (WHERE type = 'purchase'), 0)
        FROM public.credit_transactions GROUP BY user_id
        """
    )
    connection.execute(
        "INSERT INTO public.teams (id, name, owner_id) SELECT 'team-' || n, 'Team ' || n, 'user-' || n"
        " FROM generate_series(1, %s) AS n",
        [users // 50],
    )
    connection.execute(
        "INSERT INTO public.api_key_credits (api_key, user_id, credits, monthly_limit)"
        " SELECT 'sk_live_' || md5(n::text), 'user-' || n, 0, 1000 FROM generate_series(1, %s) AS n",
        [users // 10],
    )
    connection.execute("ALTER TABLE public.users ENABLE TRIGGER ALL")
    connection.execute("ALTER TABLE public.credit_transactions ENABLE TRIGGER ALL")
    connection.execute(
        "ALTER TABLE public.credit_transactions"
        " ENABLE ALWAYS TRIGGER credit_transactions_keep_history,"
        " ENABLE ALWAYS TRIGGER credit_transactions_keep_all"
    )
    connection.execute("VACUUM ANALYZE")


def _ledger(users: int, rows: int) -> Iterator[tuple[Any, ...]]:
    """The rows in the order of their time, from two years ago until now."""
    seconds = 2 * 365 * 24 * 3600
    begin = time.time() - seconds
    for place in range(rows):
        # Every user in turn: the bonus comes first, and no account is ever below zero.
        user, turn = place % users + 1, place // users
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(begin + seconds * place / rows))
        if turn == 0:
            yield f"user-{user}", 100, "bonus", "signup", None, "user", "signup", moment
        elif turn % 20 == 10:
            yield f"user-{user}", 500, "purchase", "pack.500", None, "user", f"evt_{place}", moment
        else:
            operation = OPERATIONS[(place * 7 + turn) % len(OPERATIONS)]
            key = f"request-{place}" if place % 3 else None
            yield (
                f"user-{user}",
                -1 - place % 5,
                "usage",
                operation,
                f"dataset-{place % 97}",
                "user",
                key,
                moment,
            )


def _set_up(url: str) -> None:
    scratch = tempfile.mkdtemp(prefix="cs")
    os.environ |= {
        "AUTH_DATABASE_URL": url,
        "FLTR_DATABASE_URL": url.replace("/fltr_auth?", "/fltr?"),
        "CONTROL_DATABASE_URL": f"sqlite:///{scratch}/control.sqlite3",
        "DJANGO_SETTINGS_MODULE": "fltr_project.settings",
        "DEBUG": "off",
        "SECRET_KEY": "bench",
        "ALLOWED_HOSTS": "testserver",
    }
    import django
    from django.conf import settings
    from django.core.management import call_command

    django.setup()
    settings.ROOT_URLCONF = "bench.admin_urls"
    logging.disable()
    call_command("migrate", verbosity=0)
    call_command("migrate", database="fltr", verbosity=0)


@contextmanager
def _counted() -> Iterator[list[str]]:
    """The statements that the block sends to any database."""
    from contextlib import ExitStack

    from django.db import connections

    sent: list[str] = []

    def note(execute: Any, statement: Any, params: Any, many: bool, context: Any) -> Any:
        sent.append(str(statement))
        return execute(statement, params, many, context)

    with ExitStack() as stack:
        for connection in connections.all():
            stack.enter_context(connection.execute_wrapper(note))
        yield sent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=50_000)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--where", help="a directory on the file system to be measured")
    options = parser.parse_args()
    with migrated(where=options.where) as (server, url):
        server.create_database("fltr")
        _set_up(url)
        small = _measured(url, options.users // 10, options.rows // 10, options.rounds)
        whole = _measured(url, options.users, options.rows, options.rounds)
        for name, took in whole.items():
            plain = f"{took.plain:>6.0f} ms" if took.plain else f"{'none':>9}"
            if took.plain == math.inf:
                plain = "gives up"
            print(
                f"{name:<34} {took.median:>5.0f} ms {took.queries:>3} queries {took.kibibytes:>4.0f} KiB"
                f"  plain {plain}  {took.median / small[name].median:>4.1f} times a tenth's",
                flush=True,
            )
        worst = max(whole.values(), key=lambda took: took.median)
        print(f"worst {worst.median:.0f} ms (bar {MOST:.0f} ms)")


@dataclass(frozen=True)
class Took:
    """Of one page: milliseconds, those of the plain admin's where it has one, and what it asked and sent.

    Those of a plain page that has given up are infinite.
    """

    median: float
    plain: float | None
    queries: int
    kibibytes: float


def _measured(url: str, users: int, rows: int, rounds: int) -> dict[str, Took]:
    with psycopg.connect(url, autocommit=True) as connection:
        began = time.perf_counter()
        empty(connection)
        fill(connection, users, rows)
        print(
            f"{users:,} users and {rows:,} rows in {time.perf_counter() - began:.0f} s", flush=True
        )
        pages = addresses(connection, users, rows)
    _fill_datasets(users)
    return {name: _page(rounds, *each, cold=name == FIRST) for name, each in pages.items()}


def empty(connection: psycopg.Connection[Any]) -> None:
    """Take out what an earlier fill has put in; the ledger's own guards would refuse it."""
    for name in ("credit_transactions", "api_key_credits", "user_credits", "teams", "users"):
        table = sql.Identifier("public", name)
        connection.execute(sql.SQL("ALTER TABLE {} DISABLE TRIGGER ALL").format(table))
        connection.execute(sql.SQL("DELETE FROM {}").format(table))
        connection.execute(sql.SQL("ALTER TABLE {} ENABLE TRIGGER ALL").format(table))


def _fill_datasets(users: int) -> None:
    from django.db import connections

    with connections["fltr"].cursor() as cursor:
        cursor.execute("DELETE FROM public.datasets")
        cursor.execute(
            "INSERT INTO public.datasets (owner_id, name, slug)"
            " SELECT 'user-' || n, 'Dataset ' || n, 'dataset-' || n FROM generate_series(1, %s) n",
            [users],
        )
        # A job in a thousand has failed.
        cursor.execute(
            "INSERT INTO public.processing_jobs (dataset_id, status)"
            " SELECT id, CASE WHEN right(slug, 3) = '007' THEN 'failed' ELSE 'succeeded' END"
            " FROM public.datasets"
        )
        cursor.execute(
            "INSERT INTO public.documents (dataset_id, filename, object_key)"
            " SELECT id, slug || '.pdf', slug FROM public.datasets"
        )
        # Of two years.
        for table in ("datasets", "processing_jobs", "documents"):
            cursor.execute(
                f"UPDATE public.{table} SET created_at = created_at - interval '2 years' * random()"  # noqa: S608
            )
        cursor.execute("ANALYZE")


def addresses(
    connection: psycopg.Connection[Any], users: int, rows: int
) -> dict[str, tuple[str, str]]:
    """Ours and the plain admin's, empty where it has no such page, by what is asked for."""
    from django.urls import reverse

    from fltr_project.admin import keys

    person = f"user-{users // 2}"
    (of_a_key,) = connection.execute(
        "SELECT api_key, user_id FROM public.api_key_credits ORDER BY api_key LIMIT 1"
    ).fetchall()
    (row,) = connection.execute(
        "SELECT id, idempotency_key FROM public.credit_transactions"
        " WHERE user_id = %s AND type = 'purchase' LIMIT 1",
        [person],
    ).fetchall()
    ledger = reverse("admin:auth_app_credittransaction_changelist")
    plain_users, plain_rows = "/plain/auth_app/user/", "/plain/auth_app/credittransaction/"
    page = reverse("admin:auth_app_user_change", args=[person])
    plain_page = f"{plain_users}{person.replace('-', '_2D')}/change/"
    search = reverse("admin:search")
    return {
        "dashboard": (reverse("admin:index"), ""),
        FIRST: (reverse("admin:index"), ""),
        "users": (reverse("admin:auth_app_user_changelist"), plain_users),
        "users, far down": (
            reverse("admin:auth_app_user_changelist") + f"?p={DEEP}",
            plain_users + f"?p={DEEP // 2}",
        ),
        "users, oldest": (reverse("admin:auth_app_user_changelist") + "?o=4", plain_users + "?o=3"),
        "balances": (reverse("admin:auth_app_usercredits_changelist"), ""),
        "API keys": (reverse("admin:auth_app_apikeycredits_changelist"), ""),
        "a person": (page, plain_page),
        "a person, oldest rows": (page + "?oldest=1", ""),
        "a team": (reverse("admin:auth_app_team_change", args=["team-1"]), ""),
        "a key": (keys.address(of_a_key[1], of_a_key[0]), ""),
        "search: email": (
            f"{search}?q=person{users // 3}@example.org",
            f"{plain_users}?q=person{users // 3}@example.org",
        ),
        "search: beginning of an email": (f"{search}?q=person12", f"{plain_users}?q=person12"),
        "search: payment event": (f"{search}?q={row[1]}", f"{plain_rows}?q={row[1]}"),
        "search: end of a key": (f"{search}?q={of_a_key[0][-4:]}", ""),
        "search: nothing": (f"{search}?q=nobody", f"{plain_rows}?q=nobody"),
        "a transaction": (
            reverse("admin:auth_app_credittransaction_change", args=[row[0]]),
            f"{plain_rows}{row[0].replace('-', '_2D')}/change/",
        ),
        "transactions": (ledger, plain_rows),
        "transactions, last page": (f"{ledger}?oldest=1", f"{plain_rows}?p={rows // 100}"),
        "transactions of a type": (f"{ledger}?type=purchase", f"{plain_rows}?type=purchase"),
        "transactions of an operation": (
            f"{ledger}?operation=document&type=usage",
            f"{plain_rows}?operation=document",
        ),
        "transactions by amount": (f"{ledger}?least=400", ""),
        "transactions as CSV, first rows": (f"{ledger}export/?type=purchase", ""),
        "datasets": ("/admin/data_app/dataset/", "/plain/data_app/dataset/"),
        "documents": ("/admin/data_app/document/", ""),
        "jobs": ("/admin/data_app/processingjob/", ""),
        "jobs, far down": (
            f"/admin/data_app/processingjob/?p={DEEP}",
            "",
        ),
        "schemas": (reverse("admin:schemas"), ""),
    }


def _page(rounds: int, address: str, plain: str, *, cold: bool) -> Took:
    from django.contrib.auth.models import User as StaffUser
    from django.core.cache import cache
    from django.test import Client

    from fltr_project.admin import dashboard

    client = Client(headers={"X-Forwarded-Proto": "https"})
    client.force_login(StaffUser.objects.get_or_create(username="bench", **SUPER)[0])

    def ask(path: str) -> tuple[float, Any]:
        dashboard.forget()
        if cold:
            cache.clear()
        start = time.perf_counter()
        response = client.get(path)
        if response.streaming:
            # The first thousand rows.
            list(islice(response, 1000))
        took = (time.perf_counter() - start) * 1000
        # No statement of a page may take longer than five seconds.
        if path == plain and response.status_code == 503:
            return math.inf, response
        if response.status_code not in {200, 302}:
            raise SystemExit(f"{path} answers with {response.status_code}")
        return took, response

    ask(address)
    with _counted() as sent:
        _, response = ask(address)
    own = [ask(address)[0] for _ in range(rounds)]
    beside = [ask(plain)[0] for _ in range(3)] if plain else []
    size = 0 if response.streaming else len(response.content)
    return Took(
        statistics.median(own),
        statistics.median(beside) if beside else None,
        len(sent),
        size / 1024,
    )


if __name__ == "__main__":
    main()
