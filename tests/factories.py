from __future__ import annotations

from factory.declarations import Sequence, SubFactory
from factory.django import DjangoModelFactory
from factory.faker import Faker

from auth_app.models import ApiKeyCredits, Team, User
from data_app.models import Dataset


class UserFactory(DjangoModelFactory[User]):
    class Meta:
        model = User

    name = Faker("name")
    email = Sequence(lambda number: f"person{number}@example.org")


class TeamFactory(DjangoModelFactory[Team]):
    class Meta:
        model = Team

    name = Faker("company")
    owner = SubFactory(UserFactory)


class ApiKeyCreditsFactory(DjangoModelFactory[ApiKeyCredits]):
    class Meta:
        model = ApiKeyCredits

    api_key = Sequence(lambda number: f"key-{number:020d}")
    user = SubFactory(UserFactory)


class DatasetFactory(DjangoModelFactory[Dataset]):
    class Meta:
        model = Dataset

    name = Faker("catch_phrase")
    slug = Sequence(lambda number: f"dataset-{number}")
    owner_id = "somebody"
