"""People, credits and datasets to look at, made as programs make them: sign-ups, and calls of the ledger."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import batched

from django.utils import timezone

from auth_app import ledger
from auth_app.models import ApiKeyCredits, Session, Subscription, Team, User, UserCredits

from .models import Dataset, Document, ProcessingJob

# By them they are known again, and nobody has them: .example is reserved.
EMAIL = "person{}@sample.example"
FIRST = ("Ada", "Grace", "Alan", "Edsger", "Barbara", "Donald", "Radia", "Ken", "Frances", "Tim")
LAST = ("Lovelace", "Hopper", "Turing", "Dijkstra", "Liskov", "Knuth", "Perlman", "Thompson")
SUBJECTS = ("Weather", "Case law", "Recipes", "Patents", "Birds", "Timetables", "Novels", "Maps")
OPERATIONS = {"query.standard": 1, "query.hybrid": 2, "query.premium": 5, "document": 3}
BATCH = 1_000


@dataclass(frozen=True)
class Made:
    users: int
    teams: int
    api_keys: int
    transactions: int
    datasets: int


def make(count: int, *, seed: int = 1) -> Made:
    """Make ``count`` users (1 or more) and what belongs to them, beside those of earlier calls.

    The same numbers for the same ``seed`` and the same beginning. Every credit moves through the ledger, so all
    balances agree; what was committed before an error stays.
    """
    chance = random.Random(seed)  # noqa: S311 - nothing here is a secret
    begin = User.objects.using("auth").filter(email__endswith="@sample.example").count()
    users = list(_users(begin, count, chance))
    teams = _teams(users, chance)
    api_keys = _api_keys(users, begin)
    datasets = _datasets(users, chance)
    transactions = count + _credits(users, teams, api_keys, datasets, chance)
    return Made(len(users), len(teams), len(api_keys), transactions, len(datasets))


def _users(begin: int, count: int, chance: random.Random) -> Iterator[User]:
    now = timezone.now()
    for numbers in batched(range(begin, begin + count), BATCH):
        made = User.objects.using("auth").bulk_create(
            User(
                name=f"{chance.choice(FIRST)} {chance.choice(LAST)}",
                email=EMAIL.format(number),
                email_verified=chance.random() < 0.9,
                stripe_customer_id=f"cus_sample{number}" if number % 3 == 0 else None,
            )
            for number in numbers
        )
        Session.objects.using("auth").bulk_create(
            Session(
                user=user,
                token=f"sample-{user.pk}-{chance.getrandbits(128):032x}",
                expires_at=now + timedelta(days=chance.randint(-3, 7)),
                ip_address=f"192.0.2.{chance.randint(1, 254)}",
                user_agent="Mozilla/5.0 (sample)",
            )
            for user in made
            if chance.random() < 0.5
        )
        Subscription.objects.using("auth").bulk_create(
            Subscription(
                plan="pro",
                reference_id=user.pk,
                status="active",
                stripe_customer_id=user.stripe_customer_id,
                stripe_subscription_id=f"sub_{user.stripe_customer_id}",
                period_end=now + timedelta(days=chance.randint(1, 30)),
            )
            for user in made
            if user.stripe_customer_id
        )
        yield from made


def _teams(users: list[User], chance: random.Random) -> list[Team]:
    teams = Team.objects.using("auth").bulk_create(
        Team(name=f"{chance.choice(LAST)} & {chance.choice(LAST)}", owner=user)
        for user in users[::20]
    )
    for place, team in enumerate(teams):
        members = [user.pk for user in users[place * 20 : place * 20 + 5]]
        UserCredits.objects.using("auth").filter(pk__in=members).update(team=team)
    return teams


def _api_keys(users: list[User], begin: int) -> list[ApiKeyCredits]:
    return ApiKeyCredits.objects.using("auth").bulk_create(
        ApiKeyCredits(
            # Of a form that no program gives out.
            api_key=f"sk_sample_{begin + place:024d}",
            user=user,
            daily_limit=50 if place % 2 else None,
            monthly_limit=1_000,
        )
        for place, user in enumerate(users[::10])
    )


def _datasets(users: list[User], chance: random.Random) -> list[Dataset]:
    datasets = Dataset.objects.using("fltr").bulk_create(
        Dataset(
            owner_id=user.pk,
            name=f"{chance.choice(SUBJECTS)} of {chance.choice(LAST)}",
            slug=f"sample-{user.pk}",
            status=chance.choice(("ready", "ready", "processing", "failed")),
            document_count=3,
        )
        for user in users[::5]
    )
    Document.objects.using("fltr").bulk_create(
        Document(
            dataset=dataset,
            filename=f"part-{number}.pdf",
            object_key=f"{dataset.slug}/{number}",
            file_size=chance.randint(1_000, 9_000_000),
            status="ready",
        )
        for dataset in datasets
        for number in range(3)
    )
    ProcessingJob.objects.using("fltr").bulk_create(
        ProcessingJob(
            dataset=dataset,
            processor="chunks",
            status="failed" if dataset.status == "failed" else "succeeded",
            error="The file has no text." if dataset.status == "failed" else None,
        )
        for dataset in datasets
    )
    return datasets


def _credits(
    users: list[User],
    teams: list[Team],
    api_keys: list[ApiKeyCredits],
    datasets: list[Dataset],
    chance: random.Random,
) -> int:
    """Purchases, charges, refunds, holds and a reversal; how many rows that were."""
    rows = 0
    for user in users[::4]:
        key = f"evt_sample_{user.pk}"
        bought = ledger.grant(
            user.pk, 500, type="purchase", operation="pack.500", idempotency_key=key
        )
        rows += 1
        if chance.random() < 0.1:
            ledger.reverse(bought.id, 200, idempotency_key=f"dispute_sample_{user.pk}")
            rows += 1
    for team in teams:
        ledger.grant(str(team.owner_id), 1_000, operation="pack.team", team_id=team.pk)
        rows += 1
    for key_ in api_keys:
        ledger.grant(key_.user_id, 200, operation="pack.key", api_key=key_.pk)
        rows += 1
    decisions = [
        decision
        for batch in batched(_spends(users, teams, api_keys, datasets, chance), BATCH)
        for decision in ledger.consume_many(batch)
        if decision.ok
    ]
    rows += len(decisions)
    for decision in decisions[::40]:
        ledger.refund(str(decision.transaction_id))
        rows += 1
    for user in users[::50]:
        try:
            ledger.hold(user.pk, 5, operation="answer", expires_in=timedelta(hours=1))
            rows += 1
        except ledger.InsufficientCredits:
            continue
    return rows


def _spends(
    users: list[User],
    teams: list[Team],
    api_keys: list[ApiKeyCredits],
    datasets: list[Dataset],
    chance: random.Random,
) -> Iterator[ledger.Spend]:
    names = list(OPERATIONS)
    for place, user in enumerate(users):
        # Some spend all they have.
        for number in range(200 if place % 30 == 7 else chance.randint(2, 15)):
            operation = chance.choice(names)
            yield ledger.Spend(
                user.pk,
                OPERATIONS[operation],
                operation,
                resource_id=str(chance.choice(datasets).pk),
                idempotency_key=f"request-sample-{number}" if number % 4 else None,
            )
    for team in teams:
        for _ in range(10):
            yield ledger.Spend(str(team.owner_id), 5, "query.premium", team_id=team.pk)
    for key in api_keys:
        for _ in range(chance.randint(1, 12)):
            yield ledger.Spend(key.user_id, 5, "query.premium", api_key=key.pk)
