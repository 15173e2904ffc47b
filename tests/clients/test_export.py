"""With the exported schema.ts the real drizzle-kit has nothing to do, and TypeScript takes it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from fltr_project.export.exports import export
from tests.conftest import ALIASES, ROOT, Databases, Outcome

from .drizzle_folder import KIT
from .test_drizzle_build import Node

CONFIG = """
import { defineConfig } from "drizzle-kit";
export default defineConfig({
  dialect: "postgresql",
  schema: "./SCHEMA",
  out: "./OUT",
  dbCredentials: { url: process.env.DRIZZLE_URL },
  migrations: { schema: "public" },
  tablesFilter: TABLES,
});
"""
USES = """
import { drizzle } from "drizzle-orm/node-postgres";
import * as schema from "./exported_auth.ts";
const db = drizzle("postgresql://localhost/none", { schema });
export async function emails(): Promise<string[]> {
  const rows: schema.User[] = await db.select().from(schema.users);
  return rows.map((row) => row.email);
}
const row: schema.NewCreditTransaction = { userId: "u", amount: 1, type: "bonus" };
// @ts-expect-error: a type that no check lets through
const wrong: schema.NewCreditTransaction = { userId: "u", amount: 1, type: "gift" };
"""

CREDITS = """
import pg from "pg";
import postgres from "postgres";
import { drizzle as overPg } from "drizzle-orm/node-postgres";
import { drizzle as overPostgres } from "drizzle-orm/postgres-js";
import * as credits from "./exported_credits.ts";
const url = process.env.AUTH_DATABASE_URL as string;
const pool = new pg.Pool({ connectionString: url });
// The tests' server may be on a socket, which its URL says in a way that is none to postgres.js.
const socket = /^postgresql:..(.*?)@.(.*?)[?]host=(.*?)&port=(.*)$/.exec(url);
const sql = socket
  ? postgres({ username: socket[1], database: socket[2], path: `${socket[3]}/.s.PGSQL.${socket[4]}` })
  : postgres(url);
const databases: { [name: string]: credits.Database } = {
  "node-postgres": pool, "postgres.js": sql, "drizzle over pg": overPg(pool), "drizzle over postgres": overPostgres(sql),
};
const saw: unknown[] = [];
for (const [name, db] of Object.entries(databases)) {
  const userId = name;
  const once = { userId, amount: 5, operation: "query", metadata: { why: ["a"] }, idempotencyKey: "k" };
  const first = await credits.consumeCredits(db, once);
  const again = await credits.consumeCredits(db, once);
  const held = await credits.holdCredits(db, { userId, amount: 20, operation: "answer", expiresIn: "1 hour" });
  const settled = await credits.settleCredits(db, { holdId: held.id as string, used: 7 });
  const given = await credits.grantCredits(db, { userId, amount: 2, type: "bonus", operation: "gift" });
  const many = await credits.consumeCreditsMany(db, [{ userId, amount: 1, operation: "x" }, { userId, amount: 999, operation: "x" }]);
  const refused = await credits
    .consumeCredits(db, { userId, amount: 1000, operation: "query" })
    .then(() => null, (error: unknown) => error as credits.CreditError);
  saw.push({
    name, first: [first.verdict, first.balance, first.metadata], again: again.verdict,
    age: Math.abs(Date.now() - first.createdAt.getTime()) < 60_000,
    settled: [settled.charged, settled.balance], given: [given.entry.amount, given.entry.createdAt instanceof Date],
    many: many.map((each) => each.verdict),
    refused: [refused instanceof credits.CreditError, refused?.status, refused?.verdict, refused?.balance],
  });
}
// A refusal leaves the transaction usable.
const client = await pool.connect();
await client.query("BEGIN");
await credits.consumeCredits(client, { userId: "node-postgres", amount: 9999, operation: "q" }).catch(() => null);
await credits.consumeCredits(client, { userId: "node-postgres", amount: 1, operation: "q" });
await client.query("COMMIT");
client.release();
await sql.end();
await pool.end();
console.log(JSON.stringify(saw));
"""


@pytest.fixture
def exported(clients: Path, tmp_path: Path) -> Callable[[str], str]:
    """Writes schema.ts and its drizzle.config.ts for an alias; the option that names the config."""

    def write(alias: str) -> str:
        text = export(alias, "drizzle")
        (clients / f"exported_{alias}.ts").write_text(text)
        # As the head of the file says.
        (line,) = [each for each in text.splitlines() if each.startswith("//   tablesFilter: ")]
        tables = line.removeprefix("//   tablesFilter: ")
        config = CONFIG.replace("SCHEMA", f"exported_{alias}.ts").replace("TABLES", tables)
        out = f"exported_{alias}_{tmp_path.name}"
        (clients / f"exported_{alias}.config.ts").write_text(config.replace("OUT", out))
        return f"--config=exported_{alias}.config.ts"

    return write


@pytest.mark.parametrize("alias", ALIASES)
def test_push_has_nothing_to_do(
    databases: Databases,
    node: Node,
    exported: Callable[[str], str],
    run: Callable[..., Outcome],
    alias: str,
) -> None:
    config = exported(alias)
    url = databases.environment()[f"{alias.upper()}_DATABASE_URL"]
    pushed = node(KIT, "push", config, "--verbose", DRIZZLE_URL=url)
    assert pushed.returncode == 0, pushed.stdout + pushed.stderr
    assert "No changes detected" in pushed.stdout, pushed.stdout
    assert run("verify_schema", "--database", alias, "--strict").code == 0
    # It would be seen.
    table, column = {"auth": ("users", "image"), "fltr": ("datasets", "category")}[alias]
    databases.execute(alias, f"ALTER TABLE {table} DROP COLUMN {column}")
    pushed = node(KIT, "push", config, "--verbose", DRIZZLE_URL=url)
    assert "No changes detected" not in pushed.stdout


@pytest.mark.parametrize("alias", ALIASES)
def test_what_it_generates_is_generated_once_and_adopted(
    databases: Databases,
    node: Node,
    clients: Path,
    exported: Callable[[str], str],
    run: Callable[..., Outcome],
    tmp_path: Path,
    alias: str,
) -> None:
    config = exported(alias)
    first = node(KIT, "generate", config, DRIZZLE_URL="")
    assert first.returncode == 0, first.stdout + first.stderr
    again = node(KIT, "generate", config, DRIZZLE_URL="")
    assert "No schema changes, nothing to migrate" in again.stdout, again.stdout
    assert node(KIT, "check", config).returncode == 0
    if alias == "auth":
        folder = clients / f"exported_{alias}_{tmp_path.name}"
        assert run("adopt_drizzle", str(folder)).code == 0
        url = databases.environment()["AUTH_DATABASE_URL"]
        migrated = node(KIT, "migrate", config, DRIZZLE_URL=url)
        assert migrated.returncode == 0, migrated.stdout + migrated.stderr
        assert run("verify_schema", "--database", "auth", "--strict").code == 0


def test_typescript_is_content(clients: Path, exported: Callable[[str], str]) -> None:
    for alias in ALIASES:
        exported(alias)
    (clients / "uses_exported.ts").write_text(USES)
    (clients / "exported_credits.ts").write_text(export("auth", "credits-typescript"))
    (clients / "uses_credits.ts").write_text(CREDITS)
    options = {
        "compilerOptions": {
            "strict": True,
            "noEmit": True,
            "module": "nodenext",
            "target": "es2023",
            "allowImportingTsExtensions": True,
            "skipLibCheck": True,
            "types": ["node"],
        },
        "files": ["uses_exported.ts", "exported_fltr.ts", "uses_credits.ts"],
    }
    (clients / "tsconfig.exported.json").write_text(json.dumps(options))
    checked = subprocess.run(
        ["node", "node_modules/typescript/bin/tsc", "-p", "tsconfig.exported.json"],
        cwd=clients,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("zone", ["UTC", "America/Los_Angeles"])
def test_credits_are_spent_by_every_client(
    databases: Databases, node: Node, clients: Path, zone: str
) -> None:
    names = ["node-postgres", "postgres.js", "drizzle over pg", "drizzle over postgres"]
    for name in names:
        databases.execute(
            "auth", "INSERT INTO users (id, name, email) VALUES (%s, 'A', %s)", name, name
        )
    (clients / "exported_credits.ts").write_text(export("auth", "credits-typescript"))
    (clients / "uses_credits.ts").write_text(CREDITS)
    # As a bundler does: node itself knows no types.
    built = node(
        "node_modules/esbuild/bin/esbuild",
        "uses_credits.ts",
        "--bundle",
        "--platform=node",
        "--format=esm",
        "--packages=external",
        "--outfile=uses_credits.mjs",
    )
    assert built.returncode == 0, built.stderr
    done = node("uses_credits.mjs", TZ=zone)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [
        {
            "name": name,
            "first": ["done", 95, {"why": ["a"]}],
            "again": "replayed",
            "age": True,
            "settled": [7, 88],
            "given": [2, True],
            "many": ["done", "insufficient"],
            "refused": [True, 402, "insufficient", 89],
        }
        for name in names
    ]


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/Los_Angeles"])
def test_node_reads_times_as_the_docs_say(
    databases: Databases, node: Node, clients: Path, zone: str
) -> None:
    """The two lines of docs/clients.md; without them node-postgres takes local time."""
    page = (ROOT / "docs" / "clients.md").read_text()
    (lines,) = [each for each in page.split("```ts\n")[1:] if "setTypeParser" in each]
    program = (
        lines.split("```")[0].replace('{ types } from "pg"', 'pg from "pg"; const { types } = pg')
        + "const client = new pg.Client(process.env.AUTH_DATABASE_URL); await client.connect();"
        "const { rows } = await client.query(\"SELECT timestamp '2026-01-02 03:04:05.678' AS at\");"
        "console.log(rows[0].at.toISOString()); await client.end();"
    )
    (clients / "times.mjs").write_text(program)
    done = node("times.mjs", TZ=zone)
    assert (done.stdout, done.returncode) == ("2026-01-02T03:04:05.678Z\n", 0), done.stderr
