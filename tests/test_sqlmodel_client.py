"""The FastAPI app's ORM as a client: it reads sessions and writes datasets on Django's tables."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy
from pydantic import NaiveDatetime
from sqlmodel import Field, Session, SQLModel, create_engine, select

from tests.conftest import Databases

ZONES = ["UTC", "Asia/Tokyo", "America/Los_Angeles"]


def utc_now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


class Dataset(SQLModel, table=True):
    __tablename__ = "datasets"

    id: uuid.UUID = Field(default_factory=uuid.uuid4, primary_key=True)
    owner_id: str = Field(index=True)
    name: str
    slug: str = Field(unique=True)
    visibility: str = "private"
    created_at: NaiveDatetime = Field(default_factory=utc_now)


class Document(SQLModel, table=True):
    __tablename__ = "documents"

    id: uuid.UUID = Field(default_factory=uuid.uuid4, primary_key=True)
    dataset_id: uuid.UUID = Field(foreign_key="datasets.id", ondelete="CASCADE")
    filename: str
    object_key: str = Field(unique=True)


class BetterAuthSession(SQLModel, table=True):
    __tablename__ = "sessions"

    id: str = Field(primary_key=True)
    user_id: str
    token: str
    expires_at: NaiveDatetime


@pytest.fixture(params=ZONES)
def zone(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def engines(databases: Databases, zone: str) -> Iterator[dict[str, sqlalchemy.Engine]]:
    urls = databases.environment()
    engines = {
        alias: create_engine(
            urls[f"{alias.upper()}_DATABASE_URL"].replace("postgresql://", "postgresql+psycopg://"),
            connect_args={"options": f"-c TimeZone={zone}"},
        )
        for alias in ("auth", "fltr")
    }
    yield engines
    for engine in engines.values():
        engine.dispose()


def test_it_writes_datasets_and_their_documents(
    databases: Databases, engines: dict[str, sqlalchemy.Engine]
) -> None:
    with Session(engines["fltr"]) as session:
        dataset = Dataset(owner_id="A" * 32, name="Birds", slug="birds")
        session.add(dataset)
        session.add(Document(dataset_id=dataset.id, filename="a.pdf", object_key="k/a.pdf"))
        session.commit()
        session.refresh(dataset)
        assert abs(dataset.created_at - utc_now()) < timedelta(minutes=1)
    # What the client leaves out is the database's default, in UTC.
    ((status, dimension, jobs, age),) = databases.execute(
        "fltr",
        "SELECT status, embedding_dimension, document_count,"
        " extract(epoch FROM timezone('utc', now()) - updated_at) FROM datasets",
    )
    assert (status, dimension, jobs) == ("uploading", 1536, 0)
    assert abs(age) < 60
    databases.execute("fltr", "DELETE FROM datasets")
    assert databases.execute("fltr", "SELECT count(*) FROM documents") == [(0,)]


def test_it_refuses_what_no_program_may_write(engines: dict[str, sqlalchemy.Engine]) -> None:
    with Session(engines["fltr"]) as session:
        session.add(Dataset(owner_id="a", name="Birds", slug="birds", visibility="secret"))
        with pytest.raises(sqlalchemy.exc.IntegrityError, match="datasets_visibility_check"):
            session.commit()


@pytest.mark.parametrize(("minutes", "valid"), [(30, True), (-30, False)])
def test_it_tells_a_live_session_from_an_expired_one(
    databases: Databases, engines: dict[str, sqlalchemy.Engine], minutes: int, valid: bool
) -> None:
    databases.execute("auth", "INSERT INTO users (id, name, email) VALUES ('u', 'Ada', 'a@b.c')")
    databases.execute(
        "auth",
        "INSERT INTO sessions (id, user_id, token, expires_at)"
        " VALUES ('s', 'u', 't', timezone('utc', now()) + %s * interval '1 minute')",
        minutes,
    )
    with Session(engines["auth"]) as session:
        query = select(BetterAuthSession).where(
            BetterAuthSession.token == "t", BetterAuthSession.expires_at > utc_now()
        )
        assert (session.exec(query).first() is not None) is valid
