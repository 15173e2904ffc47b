"""The parts for Better Auth's plugins have what the real plugins want, no more and no less, and these work on them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, Databases, Outcome

from .test_drizzle_build import Node

PLUGINS = ("admin", "jwt", "organization", "two-factor")
# As Better Auth's generator for Drizzle has them.
TYPES = {
    "string": "text",
    "boolean": "boolean",
    "number": "integer",
    "date": "timestamp without time zone",
}
BASE = {"users", "sessions", "accounts", "verifications"}


def part(plugin: str) -> dict[str, list[dict[str, Any]]]:
    file = ROOT / "plugins" / f"better_auth_{plugin.replace('-', '_')}" / "contract.json"
    facts: dict[str, list[dict[str, Any]]] = json.loads(file.read_text(encoding="utf-8"))["facts"]
    return facts


def snake(name: str) -> str:
    return re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower()


def default(made: object) -> str | None:
    if made == "made":
        return "timezone('utc'::text, now())"
    if isinstance(made, str):
        return f"'{made}'::text"
    return None if made is None else json.dumps(made)


@pytest.mark.parametrize("plugin", PLUGINS)
def test_the_part_is_what_the_plugin_wants(node: Node, clients: Path, plugin: str) -> None:
    done = node("plugin.mjs", plugin, "tables")
    assert done.returncode == 0, done.stderr
    wanted = json.loads(done.stdout)
    facts = part(plugin)
    columns = {
        (snake(table), snake(field)): (
            TYPES[each["type"]],
            not each["required"],
            default(each["made"]),
        )
        for table, fields in wanted.items()
        for field, each in fields.items()
    }
    ids = {(snake(table), "id") for table in wanted} - {(table, "id") for table in BASE}
    ours = {
        (each["table"], each["name"]): (each["type"], each["nullable"], each.get("default"))
        for each in facts["columns"]
    }
    assert {key: value for key, value in ours.items() if key not in ids} == columns
    assert ids <= ours.keys()
    keys = {
        (snake(table), snake(field), f"{each['target']}s")
        for table, fields in wanted.items()
        for field, each in fields.items()
        if each["target"]
    }
    assert {
        (each["table"], *each["columns"], each["target"]) for each in facts.get("foreign keys", [])
    } == keys
    indexes = {
        (snake(table), f"btree ({snake(field)})")
        for table, fields in wanted.items()
        for field, each in fields.items()
        if each["index"] or each["unique"]
    }
    assert {
        (each["table"], each["definition"])
        for each in (*facts.get("indexes", []), *facts.get("keys", []))
        if not each.get("primary")
    } == indexes


@pytest.mark.parametrize(
    ("plugin", "used", "table"),
    [
        ("admin", "user", "users WHERE role = 'user'"),
        ("jwt", 3, "jwkss"),
        ("organization", "birds", "members WHERE role = 'owner'"),
        ("two-factor", 10, "two_factors"),
    ],
)
def test_people_sign_up_with_it(
    databases: Databases,
    node: Node,
    clients: Path,
    manage: Callable[..., Outcome],
    plugin: str,
    used: object,
    table: str,
) -> None:
    environment = {**databases.environment(), "FLTR_CONTRACT_EXTRAS": f"better-auth-{plugin}"}
    assert manage("migrate", "--database", "auth", "--verbosity", "0", **environment).code == 0
    exported = manage("export_schema", "--to", "drizzle", "--database", "auth", **environment)
    (clients / f"plugin_{plugin}.ts").write_text(exported.out)
    built = node(
        *("node_modules/esbuild/bin/esbuild", f"plugin_{plugin}.ts", "--format=esm"),
        f"--outfile=plugin_{plugin}.mjs",
    )
    assert built.returncode == 0, built.stderr
    done = node("plugin.mjs", plugin, "use")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == used
    assert databases.execute("auth", f"SELECT count(*) FROM public.{table}") == [(1,)]
    assert databases.execute("auth", "SELECT credits FROM public.user_credits") == [(100,)]
    assert manage("verify_schema", "--strict", **environment).code == 0
