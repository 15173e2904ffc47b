"""The runbook's step 6 on running applications: sign up, spend a credit, log out, and look what the databases say.

What the applications do is committed; ``marked`` removes it. Each step builds on the one before.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connections, transaction

from auth_app import ledger
from fltr_project.catalog.facts import Catalog
from fltr_project.postgres import locks
from fltr_project.postgres.search_path import pinned
from fltr_project.words import counted

from . import marked
from .context import Live, NotChecked, Wrong, expect, expect_account
from .run import CheckResult, Smoke
from .sites import Answer, Site

# How far an application's clock may be off; the next wrong time zone is at 15 minutes.
CLOCK = timedelta(minutes=5)
# The most seconds that Better Auth may ask to wait: by default it takes three log-ins in ten seconds from one address.
WAIT = 60
COOKIE = "better-auth.session_token"
BALANCE_FIELDS = ("balance", "credits", "remaining")


@dataclass(frozen=True)
class Call:
    method: str
    path: str
    body: Any = None


# Where examples/fastapi has them.
SPEND = Call("POST", "/api/v1/datasets", {"name": "smoke_apps"})
BALANCE, HEALTH = "/api/v1/credits/balance", "/health"


@dataclass(frozen=True)
class Applications:
    web: Site
    api: Site
    # A call that costs credits.
    spend: Call = SPEND
    balance: str = BALANCE
    health: str = HEALTH


@dataclass
class Visit:
    """What the steps learn on their way."""

    apps: Applications
    address: str
    using: str
    user_id: str = ""
    # The session's cookies as the browser keeps them, and what the API takes for them.
    cookies: dict[str, str] = field(default_factory=dict)
    pass_: dict[str, str] = field(default_factory=dict)
    # The Idempotency-Key of what was bought.
    key: str = ""
    password: str = field(default_factory=lambda: f"{uuid.uuid4()}-Aa1!")

    def rows(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """What database ``using`` says now; or a change that is committed."""
        with transaction.atomic(using=self.using), pinned(connections[self.using]) as cursor:
            locks.limit_waiting(cursor, locks.LOCK_TIMEOUT, locks.STATEMENT_TIMEOUT)
            cursor.execute(statement, parameters)
            return list(cursor.fetchall()) if cursor.description else []

    def credits(self) -> int:
        return ledger.balance(self.user_id, using=self.using)

    def ledger(self) -> tuple[int, int]:
        """How many rows the user's ledger has, and their sum."""
        ((count, total),) = self.rows(
            "SELECT count(*), coalesce(sum(amount), 0)::bigint FROM public.credit_transactions"
            " WHERE user_id = %s AND payer = 'user'",
            self.user_id,
        )
        return count, total

    def better_auth(self, method: str, path: str, body: object = None) -> Answer:
        """A call of Better Auth, with the cookies of the session. Waits once where it says that there were too many."""
        arguments = (method, f"/api/auth{path}", body, {"Origin": self.apps.web.origin})
        answer = self.apps.web.ask(*arguments, cookies=self.cookies)
        seconds = answer.headers.get("x-retry-after") or answer.headers.get("retry-after") or ""
        if answer.status == 429 and seconds.isdecimal() and int(seconds) <= WAIT:
            time.sleep(int(seconds) + 1)
            answer = self.apps.web.ask(*arguments, cookies=self.cookies)
        return answer

    def balance(self, headers: dict[str, str]) -> Answer:
        return self.apps.api.ask("GET", self.apps.balance, headers=headers)

    def spend(self, key: str) -> Answer:
        call = self.apps.spend
        headers = {**self.pass_, "Idempotency-Key": key}
        return self.apps.api.ask(call.method, call.path, call.body, headers=headers)


def walk(web: str, api: str) -> Smoke:
    """``run`` for ``clean_slate``: through the applications at these addresses, with the paths of the examples."""
    return run(Applications(Site(web), Site(api)))


def run(apps: Applications, using: str = "auth") -> Smoke:
    """Walk through ``apps``, whose users and credits are in database ``using``. Commits, and removes what it made.

    What needs a step that has failed is in ``unchecked``. Raises django.db.Error where the database cannot be
    reached.
    """
    checks: list[CheckResult] = []
    unchecked: list[str] = []
    with marked.room(marked.APPS, using) as mark:
        visit = Visit(apps, mark.address, using)
        passed = {""}
        for step in STEPS:
            if step.needs not in passed:
                unchecked.append(f"{step.name}: needs {step.needs!r}")
                continue
            try:
                checks.append(_result(step, visit))
            except NotChecked as reason:
                unchecked.append(f"{step.name}: {reason}")
                continue
            if checks[-1].ok:
                passed.add(step.name)
    checks.append(_removed(visit, mark))
    return Smoke(tuple(checks), tuple(unchecked))


def _result(step: Step, visit: Visit) -> CheckResult:
    start, ok = time.perf_counter(), False
    try:
        detail = step.function(visit)
        ok = True
    except (Wrong, ledger.CreditError) as wrong:
        detail = str(wrong)
    return CheckResult(step.name, ok, detail, round((time.perf_counter() - start) * 1000))


def _removed(visit: Visit, mark: marked.Marked) -> CheckResult:
    start = time.perf_counter()
    left = visit.rows("SELECT id FROM public.users WHERE email = %s", visit.address)
    elapsed = round((time.perf_counter() - start) * 1000)
    if left:
        return CheckResult("left behind", False, f"user {left[0][0]} is still there", elapsed)
    detail = f"nothing of {visit.address}{mark.sentence}"
    return CheckResult("left behind", True, detail, elapsed)


def web_answers(visit: Visit) -> str:
    answer = visit.better_auth("GET", "/ok")
    answer.require(200)
    if answer.field("ok") is not True:
        raise Wrong(f"{answer.describe()}, which is not Better Auth's answer")
    return f"Better Auth at {visit.apps.web.url}"


def api_is_healthy(visit: Visit) -> str:
    answer = visit.apps.api.ask("GET", visit.apps.health)
    answer.require(200)
    return answer.describe()


def sign_up(visit: Visit) -> str:
    person = {"name": "smoke_apps", "email": visit.address, "password": visit.password}
    answer = visit.better_auth("POST", "/sign-up/email", person)
    answer.require(200)
    user = answer.field("user")
    if not isinstance(user, dict) or not isinstance(user.get("id"), str):
        raise Wrong(f"{answer.describe()}, which names no user")
    if not re.fullmatch(r"[!-~]{1,200}", user["id"]):
        raise Wrong(f"{answer.describe()}, in which the user's id is none")
    visit.user_id = user["id"]
    return f"user {visit.user_id}"


def user_is_there(visit: Visit) -> str:
    users = visit.rows("SELECT id, created_at FROM public.users WHERE email = %s", visit.address)
    expect("the number of users with the address in fltr_auth", len(users), 1)
    ((id_, created),) = users
    expect("the user's id", id_, visit.user_id)
    _expect_now("users.created_at", created)
    accounts = visit.rows(
        "SELECT provider_id, password FROM public.accounts WHERE user_id = %s", visit.user_id
    )
    expect("the providers of the user's accounts", [each for each, _ in accounts], ["credential"])
    if not accounts[0][1] or visit.password in accounts[0][1]:
        raise Wrong("accounts.password is the password itself, or nothing; it must be a hash")
    return "one user, one account with the hash of a password, times in UTC"


def credits_are_there(visit: Visit) -> str:
    return expect_account(Live(visit.using, Catalog(()), 0), visit.user_id)


def wrong_password(visit: Visit) -> str:
    body = {"email": visit.address, "password": f"{visit.password}?"}
    answer = visit.better_auth("POST", "/sign-in/email", body)
    answer.require(400, 401, 403)
    return f"refused with {answer.status}"


def log_in(visit: Visit) -> str:
    body = {"email": visit.address, "password": visit.password}
    answer, confirmed = visit.better_auth("POST", "/sign-in/email", body), ""
    if answer.status == 403 and answer.field("code") == "EMAIL_NOT_VERIFIED":
        visit.rows("UPDATE public.users SET email_verified = true WHERE id = %s", visit.user_id)
        answer = visit.better_auth("POST", "/sign-in/email", body)
        confirmed = "; the address was confirmed in the database, as the link of the mail does"
    answer.require(200)
    found = [name for name in answer.cookies if name.endswith(COOKIE)]
    if not found:
        raise Wrong(f"{answer.request} sets no cookie {COOKIE}")
    visit.cookies = dict(answer.cookies)
    return f"cookie {found[0]}{confirmed}"


def session_is_there(visit: Visit) -> str:
    token = _token(visit).partition(".")[0]
    sessions = visit.rows(
        "SELECT created_at, expires_at FROM public.sessions WHERE user_id = %s AND token = %s",
        *(visit.user_id, token),
    )
    expect("the number of sessions with the cookie's token", len(sessions), 1)
    ((created, expires),) = sessions
    _expect_now("sessions.created_at", created)
    if expires <= _utc():
        raise Wrong(f"sessions.expires_at is {expires}, and it is {_utc():%Y-%m-%d %H:%M} in UTC")
    answer = visit.better_auth("GET", "/get-session")
    answer.require(200)
    user = answer.field("user")
    expect(
        "the user of /get-session",
        user.get("id") if isinstance(user, dict) else None,
        visit.user_id,
    )
    return f"for {counted(round((expires - created).total_seconds() / 3600), 'hours')}"


def balance(visit: Visit) -> str:
    """Finds out how the API takes a session, too."""
    token = _token(visit)
    ways = {
        "cookie": {"Cookie": "; ".join(f"{k}={v}" for k, v in visit.cookies.items())},
        "signed bearer token": {"Authorization": f"Bearer {token}"},
        "bearer token": {"Authorization": f"Bearer {token.partition('.')[0]}"},
    }
    refused: Answer | None = None
    for name, headers in ways.items():
        answer = visit.balance(headers)
        if answer.status == 401:
            refused = refused or answer
            continue
        visit.pass_ = headers
        return f"{_expect_balance(visit, answer)}; the session by {name}"
    raise Wrong(f"{refused.describe() if refused else ''}; tried by {', '.join(ways)}")


def no_session(visit: Visit) -> str:
    _expect_401(visit.balance({}), "without a session")
    for what, headers in _forged(visit):
        _expect_401(visit.balance(headers), what)
    return "401 without a session, with another's signature and with a token of nobody"


def spend(visit: Visit) -> str:
    before, (rows, _) = visit.credits(), visit.ledger()
    if before == 0:
        raise NotChecked("a new user has no credits (SIGNUP_BONUS_CREDITS)")
    visit.key = str(uuid.uuid4())
    answer = visit.spend(visit.key)
    if answer.status in {404, 405}:
        raise Wrong(f"{answer.describe()}. Name a call that costs credits with --spend")
    answer.require(200, 201, 202)
    after, (rows_after, total) = visit.credits(), visit.ledger()
    if rows_after == rows and after == before:
        raise Wrong(f"{answer.request} answers {answer.status}, and no credit was spent")
    if total != after:
        raise Wrong(
            f"the balance is {after} and the ledger's sum {total}: {answer.request} has changed one of them alone"
        )
    if after >= before:
        raise Wrong(f"the balance is {after}, and was {before}: nothing was spent")
    operations = visit.rows(
        "SELECT operation FROM public.credit_transactions WHERE user_id = %s AND type = 'usage'"
        " ORDER BY id DESC LIMIT 1",
        visit.user_id,
    )
    if not operations:
        raise Wrong(f"{answer.request} has taken credits, and the ledger has no row of type usage")
    said = _expect_balance(visit, visit.balance(visit.pass_))
    return f"{counted(before - after, 'credits')} for {operations[0][0]!r}; {said}"


def sent_again(visit: Visit) -> str:
    before = visit.credits()
    answer = visit.spend(visit.key)
    if answer.status >= 500:
        raise Wrong(answer.describe())
    after = visit.credits()
    if after != before:
        raise NotChecked(
            f"the API charged {before - after} more for the same Idempotency-Key; it does not know this header"
        )
    return f"the same Idempotency-Key again is charged nothing ({answer.status})"


def nothing_left(visit: Visit) -> str:
    if left := visit.credits():
        ledger.consume(visit.user_id, left, operation=marked.APPS, using=visit.using)
    before = visit.ledger()
    answer = visit.spend(str(uuid.uuid4()))
    if answer.status not in range(400, 500) or answer.status in {401, 404}:
        raise Wrong(f"with a balance of 0 {answer.describe()}; it must refuse, with 402")
    expect("the balance after a refusal", visit.credits(), 0)
    expect("the ledger's rows and sum after a refusal", visit.ledger(), before)
    return f"refused with {answer.status}, and nothing written"


def log_out(visit: Visit) -> str:
    visit.better_auth("POST", "/sign-out", {}).require(200)
    token = _token(visit).partition(".")[0]
    left = visit.rows("SELECT id FROM public.sessions WHERE token = %s", token)
    expect("the number of sessions after the log-out", len(left), 0)
    _expect_401(visit.balance(visit.pass_), "with the session that was logged out")
    return "the session is gone, and the API refuses it with 401"


@dataclass(frozen=True)
class Step:
    name: str
    function: Callable[[Visit], str]
    # The step that must have passed before; what that one needs too.
    needs: str = ""


STEPS = (
    Step("web answers", web_answers),
    Step("API is healthy", api_is_healthy),
    Step("sign-up", sign_up, "web answers"),
    Step("user in fltr_auth", user_is_there, "sign-up"),
    Step("account and bonus", credits_are_there, "sign-up"),
    Step("wrong password", wrong_password, "sign-up"),
    Step("log-in", log_in, "sign-up"),
    Step("session", session_is_there, "log-in"),
    Step("balance", balance, "log-in"),
    Step("no session, no answer", no_session, "balance"),
    Step("spending", spend, "balance"),
    Step("sent again", sent_again, "spending"),
    Step("no credits left", nothing_left, "spending"),
    Step("log-out", log_out, "balance"),
)


def _token(visit: Visit) -> str:
    """The cookie's token with its signature, as it is in the cookie."""
    return next(value for name, value in visit.cookies.items() if name.endswith(COOKIE))


def _forged(visit: Visit) -> Iterator[tuple[str, dict[str, str]]]:
    token = _token(visit)
    name, value = next(iter(visit.pass_.items()))
    start, dot, signature = token.partition(".")
    if signature and f"{start}{dot}" in value:
        other = ("B" if signature[0] == "A" else "A") + signature[1:]
        yield "with another's signature", {name: value.replace(signature, other)}
    yield "with a token of nobody", {name: value.replace(start, start[::-1])}


def _expect_401(answer: Answer, what: str) -> None:
    if answer.status != 401:
        raise Wrong(f"{what} {answer.describe()}; it must refuse, with 401")


def _expect_balance(visit: Visit, answer: Answer) -> str:
    answer.require(200)
    said = answer.body if isinstance(answer.body, int) else answer.field(*BALANCE_FIELDS)
    if isinstance(said, bool) or not isinstance(said, int | float):
        fields = ", ".join(BALANCE_FIELDS)
        raise Wrong(f"{answer.describe()}, in which none of {fields} is a number")
    expect("the balance that the API says", said, visit.credits())
    return f"the API says {said}, as the database does"


def _utc() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


def _expect_now(column: str, found: datetime) -> None:
    off = found - _utc()
    if abs(off) > CLOCK:
        raise Wrong(
            f"{column} is {found:%Y-%m-%d %H:%M}, {abs(off).total_seconds() / 3600:.1f} hours "
            f"{'ahead' if off > timedelta() else 'behind'}: times must be in UTC (docs/clients.md has the two lines)"
        )
