"""Acts on credits: a preview, a required reason, and one idempotency key a form, through the ledger's own calls."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse

from auth_app import ledger
from auth_app.ledger.types import LARGEST
from auth_app.models import CreditTransaction
from fltr_project.words import counted

from .inspection import may_see_balances

OPERATION = "support.grant"


class ActForm(forms.Form):
    amount = forms.IntegerField(min_value=1, max_value=LARGEST, label="Credits")
    reason = forms.CharField(
        min_length=3,
        max_length=500,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="Stands in the log and, where the act writes one, in the row of the ledger.",
    )
    # Of this form alone: sent twice, it acts once.
    token = forms.RegexField(r"[0-9a-f]{32}", widget=forms.HiddenInput)


@dataclass(frozen=True)
class Act:
    """What somebody is about to do; credits."""

    # As its button says it: Give, Refund, Reverse, Release.
    verb: str
    permission: str
    # Of whom or of what, for the heading and the log.
    subject: str
    # Where to go afterwards, and back.
    address: str
    balance: int | None
    # Plus where the balance grows.
    sign: int
    # What the amount begins with and cannot exceed; None where any is possible.
    most: int | None
    # None for an act on all of it.
    asks_amount: bool
    # Does it, and answers with the row's id, the account's balance after it, whether that was done before,
    # and what there is to say beside it.
    run: Callable[[int, dict[str, Any], str], Outcome]


@dataclass(frozen=True)
class Outcome:
    row_id: str
    balance: int | None
    replayed: bool
    remark: str = ""


def act_page(request: HttpRequest, act: Act) -> HttpResponse:
    """The form, its preview, and with ``confirm`` the act; raises PermissionDenied."""
    if not request.user.has_perm(act.permission):
        raise PermissionDenied
    form = ActForm(request.POST or None, initial={"token": uuid.uuid4().hex, "amount": act.most})
    if not act.asks_amount:
        form.fields["amount"].widget = forms.HiddenInput()
    preview = False
    if request.method == "POST" and form.is_valid():
        preview = True
        if "confirm" in request.POST and _done(request, act, form):
            return HttpResponseRedirect(act.address)
    amount = form.cleaned_data.get("amount") if form.is_bound and form.is_valid() else None
    after = None
    if preview and amount and act.balance is not None:
        after = max(0, act.balance + act.sign * amount)
    return render(
        request,
        "admin/act.html",
        {
            **admin.site.each_context(request),
            "title": f"{act.verb} credits: {act.subject}",
            "act": act,
            "form": form,
            "preview": preview and not form.errors,
            "amount": amount,
            "after": after,
            "see_balances": may_see_balances(request),
        },
    )


def _done(request: HttpRequest, act: Act, form: ActForm) -> bool:
    """Do it, log it, tell it; False with the ledger's own words in the form where it refuses."""
    amount, reason = form.cleaned_data["amount"], form.cleaned_data["reason"]
    metadata = {"by": request.user.get_username(), "reason": reason}
    try:
        outcome = act.run(amount, metadata, f"admin:{form.cleaned_data['token']}")
    except (ledger.CreditError, ValueError) as error:
        form.add_error(None, str(error))
        return False
    what = f"{act.verb} {counted(amount, 'credits')}: {act.subject}"
    if outcome.replayed:
        messages.info(request, f"{what}. That was done before, and was not done again.")
        return True
    LogEntry.objects.using("default").create(
        user_id=str(request.user.pk),
        content_type=ContentType.objects.db_manager("default").get_for_model(CreditTransaction),
        object_id=outcome.row_id,
        object_repr=what[:200],
        action_flag=CHANGE,
        change_message=f"{what}. {reason}",
    )
    seen = outcome.balance is not None and may_see_balances(request)
    balance = f" The balance is {outcome.balance:,}." if seen else ""
    messages.success(request, f"{what}. Done.{balance}{outcome.remark}")
    return True


def grant(account: Any, address: str, subject: str) -> Act:
    """Give a bonus to the account of a page."""

    def run(amount: int, metadata: dict[str, Any], key: str) -> Outcome:
        entry = ledger.grant(
            account.owner_id,
            amount,
            type="bonus",
            operation=OPERATION,
            metadata=metadata,
            idempotency_key=key,
            **account.arguments,
        )
        return Outcome(entry.id, entry.balance_after, entry.replayed)

    if account.owner_id is None:
        raise Http404("Nobody owns this team or is in it, so nobody can be given its credits.")
    return Act(
        verb="Give",
        permission="auth_app.grant_credits",
        subject=subject,
        address=address,
        balance=account.credits,
        sign=1,
        most=None,
        asks_amount=True,
        run=run,
    )


def refund(row: Any, balance: int | None) -> Act:
    """Give a usage back, or what is left of it."""

    def run(amount: int, metadata: dict[str, Any], key: str) -> Outcome:
        entry = ledger.refund(row.id, amount, metadata=metadata, idempotency_key=key)
        return Outcome(entry.id, entry.balance_after, entry.replayed)

    return _of_row(row, balance, "Refund", "auth_app.refund_usage", 1, True, run)


def reverse_purchase(row: Any, balance: int | None) -> Act:
    """Take a purchase back, or what is left of it."""

    def run(amount: int, metadata: dict[str, Any], key: str) -> Outcome:
        reversal = ledger.reverse(row.id, amount, metadata=metadata, idempotency_key=key)
        missing = (
            f" {counted(reversal.missing, 'credits')} were missing and are owed."
            if reversal.missing
            else ""
        )
        entry = reversal.entry
        return Outcome(entry.id, entry.balance_after, entry.replayed, missing)

    return _of_row(row, balance, "Reverse", "auth_app.reverse_purchase", -1, True, run)


def release(row: Any, balance: int | None) -> Act:
    """End an open hold, which gives all of it back."""

    def run(amount: int, metadata: dict[str, Any], key: str) -> Outcome:
        settlement = ledger.release(row.id)
        return Outcome(row.id, settlement.balance_after, settlement.replayed)

    return _of_row(row, balance, "Release", "auth_app.release_hold", 1, False, run)


def _of_row(
    row: Any,
    balance: int | None,
    verb: str,
    permission: str,
    sign: int,
    asks_amount: bool,
    run: Callable[[int, dict[str, Any], str], Outcome],
) -> Act:
    return Act(
        verb=verb,
        permission=permission,
        subject=f"{row.operation or row.type} of {row.email or row.user_id}, {row.created_at:%Y-%m-%d %H:%M:%S} UTC",
        address=reverse("admin:auth_app_credittransaction_change", args=[row.id]),
        balance=balance,
        sign=sign,
        most=max(1, abs(row.amount) - row.returned),
        asks_amount=asks_amount,
        run=run,
    )


def possible(row: Any, has_perm: Callable[[str], bool]) -> str | None:
    """The act that a row allows now and the person may do, as its address calls it."""
    if row.returned >= abs(row.amount):
        return None
    if row.held_until is not None:
        act = "release" if row.amount < 0 else None
    elif row.type == "usage" and row.reversal_of is None and row.operation not in NOT_REFUNDED:
        act = "refund"
    else:
        act = "reverse" if row.type == "purchase" else None
    return act if act and has_perm(PERMISSIONS[act]) else None


# Rows that are no use of credits; the SQL functions refund none of them.
NOT_REFUNDED = frozenset({"rollover", "reconcile", "departure", "shortfall"})
ACTS = {"refund": refund, "reverse": reverse_purchase, "release": release}
PERMISSIONS = {
    "refund": "auth_app.refund_usage",
    "reverse": "auth_app.reverse_purchase",
    "release": "auth_app.release_hold",
}
