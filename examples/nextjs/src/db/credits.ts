// The tables of auth, written by `manage.py export_schema --to credits-typescript --database auth`; edit nothing here.

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
    const parts = text.split(/\$\d+/);
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
const camel = (name: string) => name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase());

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

export const REFUSALS = {
  insufficient: [402, "the balance is too small"],
  unknown_account: [404, "there is no such account, or it is not this user's"],
  unknown_hold: [404, "there is no such hold"],
  key_reused: [409, "the idempotency key belongs to another change"],
  nothing_to_refund: [409, "nothing, or not that much, is left to refund"],
  nothing_to_reverse: [409, "nothing, or not that much, is left to reverse"],
  nothing_to_reinstate: [409, "nothing, or not that much, is left to reinstate"],
  is_hold: [409, "it is a hold: settle or release it"],
  above_hold: [409, "more was used than was held"],
  hold_settled: [409, "the hold was settled before"],
  hold_released: [409, "the hold was released before"],
  hold_expired: [409, "the hold has expired and was given back"],
  overflow: [409, "the balance would pass 2,147,483,647"],
  daily_limit: [429, "the API key's daily limit does not leave that much"],
  monthly_limit: [429, "the API key's monthly limit does not leave that much"],
} as const;
export type Refusal = keyof typeof REFUSALS;
const TIMES = new Set(["created_at", "held_until", "updated_at"]);

/** A row of the ledger. */
export interface CreditRow {
  id: string;
  userId: string;
  teamId: string | null;
  amount: number;
  type: string;
  operation: string | null;
  resourceId: string | null;
  apiKeyId: string | null;
  transactionMetadata: Json | null;
  refundOf: string | null;
  refundedBefore: number | null;
  reversalOf: string | null;
  payer: string;
  balanceAfter: number | null;
  idempotencyKey: string | null;
  heldUntil: Date | null;
  createdAt: Date;
}

export interface ConsumeCredits {
  userId: string;
  amount: number;
  operation: string;
  resourceId?: string | null;
  teamId?: string | null;
  apiKey?: string | null;
  metadata?: Json | null;
  idempotencyKey?: string | null;
}
export interface ConsumeCreditsAnswer {
  verdict: string;
  balance: number;
  id: string | null;
  teamId: string | null;
  resourceId: string | null;
  metadata: Json | null;
  createdAt: Date;
}
/** Throws a CreditError where it is refused. */
export async function consumeCredits(db: Database, given: ConsumeCredits): Promise<ConsumeCreditsAnswer> {
  return await change<ConsumeCreditsAnswer>(db, "try_consume_credits", { userId: "text", amount: "integer", operation: "text", resourceId: "text", teamId: "text", apiKey: "text", metadata: "jsonb", idempotencyKey: "text" }, given);
}

export interface ConsumeCreditsManyItem {
  userId: string;
  amount: number;
  operation: string;
  resourceId?: string | null;
  teamId?: string | null;
  apiKey?: string | null;
  metadata?: Json;
  idempotencyKey?: string | null;
}
export interface ConsumeCreditsManyAnswer {
  place: number;
  verdict: string;
  balance: number | null;
  id: string | null;
  teamId: string | null;
  createdAt: Date | null;
}
/** Thousands in one statement; a refusal is the verdict of its item. */
export async function consumeCreditsMany(db: Database, items: ConsumeCreditsManyItem[]): Promise<ConsumeCreditsManyAnswer[]> {
  const given = items.map((item) =>
    Object.fromEntries(Object.entries(item).map(([name, value]) => [snake(name), value])),
  );
  const answers = await call(db, "consume_credits_many", { items: "jsonb" }, { items: given });
  return answers as unknown as ConsumeCreditsManyAnswer[];
}

export interface GrantCredits {
  userId: string;
  amount: number;
  type: string;
  operation: string;
  resourceId?: string | null;
  teamId?: string | null;
  apiKey?: string | null;
  metadata?: Json | null;
  idempotencyKey?: string | null;
  balanceLimit?: number | null;
  collect?: boolean | null;
}
export interface GrantCreditsAnswer {
  verdict: string;
  balance: number;
  entry: CreditRow;
}
/** Throws a CreditError where it is refused. */
export async function grantCredits(db: Database, given: GrantCredits): Promise<GrantCreditsAnswer> {
  return await change<GrantCreditsAnswer>(db, "try_grant_credits", { userId: "text", amount: "integer", type: "text", operation: "text", resourceId: "text", teamId: "text", apiKey: "text", metadata: "jsonb", idempotencyKey: "text", balanceLimit: "integer", collect: "boolean" }, given);
}

export interface HoldCredits {
  userId: string;
  amount: number;
  operation: string;
  expiresIn?: string | null;
  resourceId?: string | null;
  teamId?: string | null;
  apiKey?: string | null;
  metadata?: Json | null;
  idempotencyKey?: string | null;
}
export interface HoldCreditsAnswer {
  verdict: string;
  balance: number;
  id: string | null;
  teamId: string | null;
  resourceId: string | null;
  metadata: Json | null;
  createdAt: Date;
  heldUntil: Date | null;
  state: string | null;
  refundId: string | null;
}
/** Throws a CreditError where it is refused. */
export async function holdCredits(db: Database, given: HoldCredits): Promise<HoldCreditsAnswer> {
  return await change<HoldCreditsAnswer>(db, "try_hold_credits", { userId: "text", amount: "integer", operation: "text", expiresIn: "interval", resourceId: "text", teamId: "text", apiKey: "text", metadata: "jsonb", idempotencyKey: "text" }, given);
}

export interface RefundCredits {
  transactionId: string;
  amount?: number | null;
  metadata?: Json | null;
  idempotencyKey?: string | null;
}
export interface RefundCreditsAnswer {
  verdict: string;
  balance: number;
  entry: CreditRow;
}
/** Throws a CreditError where it is refused. */
export async function refundCredits(db: Database, given: RefundCredits): Promise<RefundCreditsAnswer> {
  return await change<RefundCreditsAnswer>(db, "try_refund_credits", { transactionId: "text", amount: "integer", metadata: "jsonb", idempotencyKey: "text" }, given);
}

export interface ReinstateCredits {
  purchaseId: string;
  amount?: number | null;
  metadata?: Json | null;
  idempotencyKey?: string | null;
}
export interface ReinstateCreditsAnswer {
  verdict: string;
  balance: number;
  entry: CreditRow;
}
/** Throws a CreditError where it is refused. */
export async function reinstateCredits(db: Database, given: ReinstateCredits): Promise<ReinstateCreditsAnswer> {
  return await change<ReinstateCreditsAnswer>(db, "try_reinstate_credits", { purchaseId: "text", amount: "integer", metadata: "jsonb", idempotencyKey: "text" }, given);
}

export interface ReleaseCredits {
  holdId: string;
}
export interface ReleaseCreditsAnswer {
  verdict: string;
  balance: number;
  id: string | null;
  held: number;
  charged: number;
  createdAt: Date;
}
/** Throws a CreditError where it is refused. */
export async function releaseCredits(db: Database, given: ReleaseCredits): Promise<ReleaseCreditsAnswer> {
  return await change<ReleaseCreditsAnswer>(db, "try_release_credits", { holdId: "text" }, given);
}

export interface ReverseCredits {
  purchaseId: string;
  amount?: number | null;
  metadata?: Json | null;
  idempotencyKey?: string | null;
}
export interface ReverseCreditsAnswer {
  verdict: string;
  balance: number;
  missing: number;
  entry: CreditRow;
}
/** Throws a CreditError where it is refused. */
export async function reverseCredits(db: Database, given: ReverseCredits): Promise<ReverseCreditsAnswer> {
  return await change<ReverseCreditsAnswer>(db, "try_reverse_credits", { purchaseId: "text", amount: "integer", metadata: "jsonb", idempotencyKey: "text" }, given);
}

export interface SettleCredits {
  holdId: string;
  used: number;
  overage?: boolean | null;
  metadata?: Json | null;
}
export interface SettleCreditsAnswer {
  verdict: string;
  balance: number;
  id: string | null;
  held: number;
  charged: number;
  uncharged: number;
  createdAt: Date;
}
/** Throws a CreditError where it is refused. */
export async function settleCredits(db: Database, given: SettleCredits): Promise<SettleCreditsAnswer> {
  return await change<SettleCreditsAnswer>(db, "try_settle_credits", { holdId: "text", used: "integer", overage: "boolean", metadata: "jsonb" }, given);
}
