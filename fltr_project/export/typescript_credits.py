"""credits.ts: typed calls of the credit functions for node-postgres, postgres.js and Drizzle."""

from __future__ import annotations

import json
from collections.abc import Iterator

from .calls import REFUSALS, Call, calls
from .tables import Table, camel

TYPES = {
    "boolean": "boolean",
    "integer": "number",
    "bigint": "number",
    "interval": "string",
    "jsonb": "Json",
    "public.credit_transactions": "CreditRow",
    "text": "string",
    "timestamp without time zone": "Date",
    "date": "string",
}
# What every answer that is no refusal has.
SURE = frozenset(
    {
        "verdict",
        "place",
        "balance",
        "created_at",
        "entry",
        "held",
        "charged",
        "uncharged",
        "missing",
    }
)
HEAD = """
import { sql, type SQL } from "drizzle-orm";

export type Json = string | number | boolean | null | Json[] | { [key: string]: Json };

/** A pool, client or transaction of node-postgres, postgres.js or Drizzle. */
export type Database =
  | { query(text: string, values: unknown[]): Promise<{ rows: unknown[] }> }
  | { unsafe(text: string, values: never[]): PromiseLike<readonly unknown[]> }
  | { execute(query: SQL): Promise<unknown> };

/** A change of credits that was refused; nothing was written, and the transaction goes on. */
export class CreditError extends Error {
  constructor(
    readonly verdict: Refusal,
    /** For an HTTP answer. */
    readonly status: number,
    /** What is left: of the balance, the limit, the usage. */
    readonly balance: number | null,
  ) {
    super(REFUSALS[verdict][1]);
    this.name = "CreditError";
  }
}

async function rows(db: Database, text: string, values: unknown[]): Promise<unknown[]> {
  if ("unsafe" in db) return [...(await db.unsafe(text, values as never[]))];
  if ("execute" in db) {
    const parts = text.split(/\\$\\d+/);
    const query = sql.join(
      parts.flatMap((part, place) =>
        place < values.length ? [sql.raw(part), sql`${values[place]}`] : [sql.raw(part)],
      ),
    );
    const answer = await db.execute(query);
    // postgres.js answers with the rows, node-postgres with a result that has them.
    return Array.isArray(answer) ? [...answer] : (answer as { rows: unknown[] }).rows;
  }
  return (await db.query(text, values)).rows;
}

const snake = (name: string) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
const camel = (name: string) => name.replace(/_(\\w)/g, (_, letter: string) => letter.toUpperCase());

/** Names as in TypeScript, and times as the UTC that they are. */
function fromRow(row: { [name: string]: Json }): { [name: string]: unknown } {
  const entries = Object.entries(row).map(([name, value]) => {
    if (TIMES.has(name) && typeof value === "string") return [camel(name), new Date(`${value}Z`)];
    if (name === "entry" && value) return [name, fromRow(value as { [name: string]: Json })];
    return [camel(name), value];
  });
  return Object.fromEntries(entries);
}

async function call(
  db: Database,
  name: string,
  types: { [name: string]: string },
  given: object,
): Promise<{ [name: string]: unknown }[]> {
  // What is not given has the function's own default.
  const used = Object.entries(given).filter(([name, value]) => name in types && value != null);
  const words = used.map(([name], place) => `p_${snake(name)} => $${place + 1}::text::${types[name]}`);
  const values = used.map(([name, value]) =>
    types[name] === "jsonb" ? JSON.stringify(value) : String(value),
  );
  const text = `SELECT to_json(t)::text AS answer FROM public.${name}(${words.join(", ")}) AS t`;
  const found = (await rows(db, text, values)) as { answer: string }[];
  return found.map(({ answer }) => fromRow(JSON.parse(answer)));
}

async function change<T>(
  db: Database,
  name: string,
  types: { [name: string]: string },
  given: object,
): Promise<T> {
  const [answer] = await call(db, name, types, given);
  const verdict = answer!.verdict as string;
  if (verdict === "done" || verdict === "replayed") return answer as T;
  const refusal = REFUSALS[verdict as Refusal];
  throw new CreditError(verdict as Refusal, refusal ? refusal[0] : 500, answer!.balance as number | null);
}
"""


def module(alias: str, tables: tuple[Table, ...], title: str) -> str:
    """The text of credits.ts; touches no database."""
    found = calls(alias)
    ledger = next((table for table in tables if table.name == "credit_transactions"), None)
    times = {"created_at", "updated_at", "held_until"}
    lines = [f"// {title}", *HEAD.splitlines(), ""]
    lines.append("export const REFUSALS = {")
    lines += [
        f"  {name}: [{status}, {json.dumps(why)}]," for name, (status, why) in REFUSALS.items()
    ]
    lines += ["} as const;", "export type Refusal = keyof typeof REFUSALS;"]
    lines.append(f"const TIMES = new Set({json.dumps(sorted(times))});")
    if ledger is not None:
        lines += ["", "/** A row of the ledger. */", "export interface CreditRow {"]
        lines += [
            f"  {camel(each.name)}: {TYPES[each.type]}{' | null' if each.nullable else ''};"
            for each in ledger.columns
        ]
        lines.append("}")
    for call in found:
        lines += ["", *_call(call)]
    return "\n".join((*lines, ""))


def _call(call: Call) -> Iterator[str]:
    name = camel(call.name)
    upper = name[0].upper() + name[1:]
    if call.many:
        yield f"export interface {upper}Item {{"
        yield from _ITEM.splitlines()
        yield "}"
    else:
        yield f"export interface {upper} {{"
        for value in call.takes:
            mark = "?" if value.optional else ""
            null = " | null" if value.optional else ""
            yield f"  {camel(value.name)}{mark}: {TYPES[value.type]}{null};"
        yield "}"
    yield f"export interface {upper}Answer {{"
    for value in call.answers:
        sure = SURE & {"place", "verdict"} if call.many else SURE
        yield f"  {camel(value.name)}: {TYPES[value.type]}{'' if value.name in sure else ' | null'};"
    yield "}"
    types = ", ".join(f"{camel(value.name)}: {json.dumps(value.type)}" for value in call.takes)
    if call.many:
        yield "/** Thousands in one statement; a refusal is the verdict of its item. */"
        yield f"export async function {name}(db: Database, items: {upper}Item[]): Promise<{upper}Answer[]> {{"
        yield "  const given = items.map((item) =>"
        yield "    Object.fromEntries(Object.entries(item).map(([name, value]) => [snake(name), value])),"
        yield "  );"
        yield f'  const answers = await call(db, "{call.function}", {{ {types} }}, {{ items: given }});'
        yield f"  return answers as unknown as {upper}Answer[];"
    else:
        yield "/** Throws a CreditError where it is refused. */"
        yield f"export async function {name}(db: Database, given: {upper}): Promise<{upper}Answer> {{"
        yield f'  return await change<{upper}Answer>(db, "{call.function}", {{ {types} }}, given);'
    yield "}"


# As docs/credits.md has them: an item is JSON, so the function does not say.
_ITEM = """\
  userId: string;
  amount: number;
  operation: string;
  resourceId?: string | null;
  teamId?: string | null;
  apiKey?: string | null;
  metadata?: Json;
  idempotencyKey?: string | null;"""
