"""One box for whatever an operator has in hand: each kind is looked up exactly or by its beginning, by an index."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.contrib import admin
from django.db import connections
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse

from auth_app.api_keys import masked
from fltr_project.postgres.search_path import pinned

from . import keys

# Of each way to be found.
MOST = 8
LONGEST = 300
# The end of a key as our pages show it, or the last four characters alone.
KEY_END = re.compile(r"(?:.{0,8}(?:…|\.\.\.))?(\S{4})")

_BEGINS = "{column} ~>=~ %({name})s::text AND {column} ~<~ %({name}_end)s::text"


def _begins(column: str, name: str) -> str:
    # Not LIKE: for a parameter of a prepared statement no index serves that.
    return _BEGINS.format(column=column, name=name)


_USER = "SELECT 'user', u.id, u.email, u.name, %s FROM public.users u WHERE {} LIMIT {}"
_TEAM = "SELECT 'team', g.id, g.name, '', %s FROM public.teams g WHERE {} LIMIT {}"
_SUBSCRIPTION = """
    SELECT CASE WHEN u.id IS NOT NULL THEN 'user' WHEN g.id IS NOT NULL THEN 'team'
                ELSE 'subscription' END,
           coalesce(u.id, g.id, s.id), coalesce(u.email, g.name, s.reference_id), s.plan, %s
    FROM public.subscriptions s
    LEFT JOIN public.users u ON u.id = s.reference_id LEFT JOIN public.teams g ON g.id = s.reference_id
    WHERE {} LIMIT {}
"""
_TRANSACTION = """
    SELECT 'transaction', t.id, to_char(t.created_at, 'YYYY-MM-DD HH24:MI:SS'),
           concat_ws(' ', t.type, t.amount::text, t.operation), %s
    FROM public.credit_transactions t WHERE {} LIMIT {}
"""
_KEY = """
    SELECT 'key', k.user_id, k.api_key, u.email, %s
    FROM public.api_key_credits k JOIN public.users u ON u.id = k.user_id WHERE {} LIMIT {}
"""
# By the permission that shows them: the query, what it is found by, and in which words.
WAYS = (
    ("auth_app.view_user", _USER, "u.id = %(q)s::text", "user id"),
    ("auth_app.view_user", _USER, _begins("u.email", "q"), "email"),
    ("auth_app.view_user", _USER, _begins("u.email", "small"), "email"),
    ("auth_app.view_user", _USER, "u.stripe_customer_id = %(q)s::text", "Stripe customer"),
    ("auth_app.view_team", _TEAM, "g.id = %(q)s::text", "team id"),
    ("auth_app.view_team", _TEAM, _begins("g.name", "q"), "team"),
    ("auth_app.view_team", _TEAM, _begins("g.name", "capital"), "team"),
    ("auth_app.view_subscription", _SUBSCRIPTION, "s.stripe_customer_id = %(q)s::text", "Stripe customer"),
    ("auth_app.view_subscription", _SUBSCRIPTION, "s.stripe_subscription_id = %(q)s::text", "Stripe subscription"),
    ("auth_app.view_credittransaction", _TRANSACTION, "t.id = %(q)s::text", "transaction id"),
    ("auth_app.view_credittransaction", _TRANSACTION, _begins("t.idempotency_key", "q"), "idempotency key"),
    ("auth_app.view_apikeycredits", _KEY, "right(k.api_key, 4) = %(key_end)s::text", "end of an API key"),
)  # fmt: skip


@dataclass(frozen=True)
class Hit:
    """Something that was found; ``by`` says by what."""

    kind: str
    address: str
    label: str
    detail: str
    by: str


def find(text: str, may: Callable[[str], bool], *, using: str = "auth") -> tuple[Hit, ...]:
    """What the text is or begins, among what the person may see. Read-only, one query at most."""
    text = text.strip()
    ways = [way for way in WAYS if may(way[0])]
    if not text or len(text) > LONGEST or not ways:
        return ()
    end = KEY_END.fullmatch(text)
    texts = {"q": text, "small": text.lower(), "capital": text[:1].upper() + text[1:]}
    parameters = {
        **texts,
        # The largest character that UTF-8 has.
        **{f"{name}_end": f"{value}\U0010ffff" for name, value in texts.items()},
        "key_end": end[1] if end else None,
    }
    queries = []
    for place, (_, query, condition, by) in enumerate(ways):
        parameters[f"by{place}"] = by
        queries.append(
            f"({query.format(condition, MOST).replace('%s', f'%(by{place})s::text', 1)})"
        )
    with pinned(connections[using]) as cursor:
        cursor.execute(" UNION ALL ".join(queries), parameters)
        hits = {
            (kind, id_, label): (detail, by) for kind, id_, label, detail, by in cursor.fetchall()
        }
    return tuple(_hit(*found, *more) for found, more in hits.items())


def search(request: HttpRequest) -> HttpResponse:
    """The only thing found, or a list of what was found."""
    text = request.GET.get("q", "")
    hits = find(text, request.user.has_perm)
    if len(hits) == 1:
        return HttpResponseRedirect(hits[0].address)
    context: dict[str, Any] = {"title": "Search", "q": text, "hits": hits}
    return render(request, "admin/search.html", {**admin.site.each_context(request), **context})


def _hit(kind: str, id_: str, label: str, detail: str, by: str) -> Hit:
    if kind == "key":
        return Hit("API key", keys.address(id_, label), masked(label), f"of {detail}", by)
    name = {"transaction": "credittransaction"}.get(kind, kind)
    return Hit(
        kind.capitalize(),
        reverse(f"admin:auth_app_{name}_change", args=[id_]),
        label,
        detail or "",
        by,
    )
