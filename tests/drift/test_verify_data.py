"""What verify_schema --data says of rows, and how it mends them."""

from __future__ import annotations

from tests.conftest import Databases

from .test_verify_command import Run, findings


def test_the_rows_are_looked_at_on_request(databases: Databases, run: Run) -> None:
    execute = databases.execute
    (user,), (other,) = execute(
        "auth", "INSERT INTO users (name, email) VALUES ('a', 'a'), ('b', 'b') RETURNING id"
    )
    execute("fltr", "INSERT INTO datasets (owner_id, name, slug) VALUES (%s, 'n', 'kept')", user)
    assert run("verify_schema", "--data").code == 0
    execute("fltr", "INSERT INTO datasets (owner_id, name, slug) VALUES ('nobody', 'n', 's')")
    execute("auth", "UPDATE user_credits SET credits = credits + 5 WHERE user_id = %s", user)
    execute("auth", "DELETE FROM user_credits WHERE user_id = %s", other)
    execute("auth", "INSERT INTO __drizzle_migrations (id, hash) VALUES (7, 'x')")
    execute("auth", "ALTER TABLE sessions DISABLE TRIGGER ALL")
    execute("auth", "INSERT INTO sessions (user_id, token, expires_at) VALUES ('gone', 't', now())")
    assert run("verify_schema", "--database", "fltr").code == 0
    outcome = run("verify_schema", "--data", "--format", "json")
    assert outcome.code == 1
    objects = {each["object"]: each for each in findings(outcome) if each["kind"] == "data"}
    assert set(objects) == {
        "__drizzle_migrations.id",
        "sessions.user_id",
        "user_credits.credits",
        "users",
    }
    assert f"{user}: 105 against 100" in objects["user_credits.credits"]["found"]
    (unowned,) = findings(
        run("verify_schema", "--data", "--database", "fltr", "--format", "json"), "fltr"
    )
    assert unowned["object"] == "datasets.owner_id"
    assert "1 dataset of 1 owner not there (nobody)" in unowned["found"]
    assert unowned["repair"][1].startswith("-- DELETE FROM public.datasets")
    databases.mark("auth", "development")
    run("verify_schema", "--database", "auth", "--data", "--apply", "--no-input")
    left = findings(run("verify_schema", "--data", "--format", "json"))
    assert {each["object"] for each in left} == {"user_credits.credits"}


def test_balances_are_looked_at_as_reconcile_credits_does(databases: Databases, run: Run) -> None:
    execute = databases.execute
    ((user,),) = execute("auth", "INSERT INTO users (name, email) VALUES ('a', 'a') RETURNING id")
    ((team,),) = execute(
        "auth", "INSERT INTO teams (name, owner_id) VALUES ('t', %s) RETURNING id", user
    )
    execute("auth", "INSERT INTO api_key_credits (api_key, user_id) VALUES ('secret', %s)", user)
    grant = "SELECT grant_credits(%s, 40, 'purchase', 'g'"
    execute("auth", f"{grant}, p_team_id => %s)", user, team)
    execute("auth", f"{grant}, p_api_key => 'secret')", user)
    assert run("verify_schema", "--data", "--database", "auth").code == 0
    execute("auth", "UPDATE teams SET credits = 7")
    execute("auth", "UPDATE api_key_credits SET credits = 9")
    outcome = run("verify_schema", "--data", "--database", "auth")
    assert outcome.code == 1
    assert f"({team}: 7 against 40)" in outcome.out
    assert "(a key: 9 against 40)" in outcome.out
    assert "secret" not in outcome.out


def test_a_missing_account_is_opened_as_reconcile_credits_does(
    databases: Databases, run: Run
) -> None:
    execute = databases.execute
    (user,), (empty,) = execute(
        "auth", "INSERT INTO users (name, email) VALUES ('a', 'a'), ('b', 'b') RETURNING id"
    )
    execute("auth", "SELECT grant_credits(%s, 25, 'purchase', 'g')", user)
    with databases.connect("auth") as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("ALTER TABLE credit_transactions DISABLE TRIGGER ALL")
        connection.execute("DELETE FROM credit_transactions WHERE user_id = %s", [empty])
        connection.execute("ALTER TABLE credit_transactions ENABLE TRIGGER ALL")
    execute("auth", "DELETE FROM user_credits")
    databases.mark("auth", "development")
    run("verify_schema", "--database", "auth", "--data", "--apply", "--no-input")
    accounts = execute("auth", "SELECT user_id, credits, total_credits_purchased FROM user_credits")
    assert sorted(accounts) == sorted([(user, 125, 25), (empty, 100, 0)])
    assert run("reconcile_credits").code == 0
