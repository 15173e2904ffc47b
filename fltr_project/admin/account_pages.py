"""The pages of a person, a team and an API key: who they are, what they have, and their ledger."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import connections
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from fltr_project.postgres.search_path import pinned

from . import acts, charts, pages
from .account_data import DAYS, Account, account
from .inspection import may_see_balances
from .ledger_page import ledger_page, with_names

# What is beside the ledger, and who may see it.
SECTIONS = {
    "sessions": "auth_app.view_session",
    "keys": "auth_app.view_apikeycredits",
    "subscriptions": "auth_app.view_subscription",
    "teams": "auth_app.view_team",
    "members": "auth_app.view_user",
}
NEEDED = {
    "user": "auth_app.view_user",
    "team": "auth_app.view_team",
    "api_key": "auth_app.view_apikeycredits",
}


def account_page(request: HttpRequest, payer: str, id_: str) -> HttpResponse:
    """The page of an account: 3 queries of its database, one of the other for the names of datasets.

    Raises PermissionDenied, and Http404 where there is no such account.
    """
    if not request.user.has_perm(NEEDED[payer]):
        raise PermissionDenied
    see_balances = may_see_balances(request)
    see_ledger = request.user.has_perm("auth_app.view_credittransaction")
    ledger = None
    with pinned(connections["auth"]) as cursor:
        found = account(cursor, payer, id_)
        if found is None:
            raise Http404(f"There is no such {payer.replace('_', ' ')}.")
        if see_ledger:
            ledger = ledger_page(
                cursor,
                found,
                before=_key(request, "before"),
                after=_key(request, "after"),
                oldest="oldest" in request.GET,
            )
    if ledger is not None:
        ledger = with_names(ledger)
    chart = None
    if see_balances and see_ledger and found.credits is not None:
        chart = charts.balance_line(found.days, found.credits, timezone.now().date(), DAYS)
    return render(
        request,
        "admin/account.html",
        {
            **admin.site.each_context(request),
            "title": _title(found),
            "account": found,
            "facts": found.facts,
            "ledger": ledger,
            "drift": ledger.drift(found.credits) if ledger else None,
            "see_balances": see_balances,
            "sees": {name: request.user.has_perm(needed) for name, needed in SECTIONS.items()},
            "chart": chart,
            "days": DAYS,
            "now": timezone.now(),
            "may_grant": request.user.has_perm("auth_app.grant_credits"),
            "may_refund": request.user.has_perm("auth_app.refund_usage"),
        },
    )


def grant_page(request: HttpRequest, payer: str, id_: str, address: str) -> HttpResponse:
    """Give credits to an account, whose page has this address; raises as ``account_page`` does."""
    if not request.user.has_perm(NEEDED[payer]):
        raise PermissionDenied
    with pinned(connections["auth"]) as cursor:
        found = account(cursor, payer, id_)
    if found is None:
        raise Http404(f"There is no such {payer.replace('_', ' ')}.")
    return acts.act_page(request, acts.grant(found, address, _title(found)))


def _title(found: Account) -> str:
    if found.payer == "api_key":
        return f"API key {found.keys[0].masked}"
    return str(found.facts["email"] if found.payer == "user" else found.facts["name"])


def _key(request: HttpRequest, name: str) -> Any:
    text = request.GET.get(name)
    return pages.key(text) if text else None
