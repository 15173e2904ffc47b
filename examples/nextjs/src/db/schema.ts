// The tables of auth, written by `manage.py export_schema --to drizzle --database auth`; edit nothing here.
// Triggers, functions and rights are not Drizzle's business: only Django's migrations make tables.
// In drizzle.config.ts, so that drizzle-kit leaves all else alone:
//   tablesFilter: ["subscriptions", "users", "verifications", "accounts", "sessions", "teams", "api_key_credits", "credit_transactions", "user_credits"]
import { sql } from "drizzle-orm";
import { bigint, boolean, check, date, index, integer, jsonb, pgSequence, pgTable, text, timestamp, unique, uniqueIndex } from "drizzle-orm/pg-core";

export const subscriptions = pgTable(
  "subscriptions",
  {
    id: text("id").primaryKey().default(sql`(gen_random_uuid())`),
    plan: text("plan").notNull(),
    referenceId: text("reference_id").notNull(),
    stripeCustomerId: text("stripe_customer_id"),
    stripeSubscriptionId: text("stripe_subscription_id"),
    status: text("status").notNull().default("incomplete"),
    periodStart: timestamp("period_start"),
    periodEnd: timestamp("period_end"),
    trialStart: timestamp("trial_start"),
    trialEnd: timestamp("trial_end"),
    cancelAtPeriodEnd: boolean("cancel_at_period_end").default(false),
    cancelAt: timestamp("cancel_at"),
    canceledAt: timestamp("canceled_at"),
    endedAt: timestamp("ended_at"),
    seats: integer("seats"),
    billingInterval: text("billing_interval"),
    stripeScheduleId: text("stripe_schedule_id"),
  },
  (table) => [
    index("subscriptions_reference_id_idx").on(table.referenceId),
    index("subscriptions_stripe_customer_id_idx").on(table.stripeCustomerId),
    index("subscriptions_stripe_subscription_id_idx").on(table.stripeSubscriptionId),
  ],
);
export type Subscription = typeof subscriptions.$inferSelect;
export type NewSubscription = typeof subscriptions.$inferInsert;

export const users = pgTable(
  "users",
  {
    id: text("id").primaryKey().default(sql`(gen_random_uuid())`),
    name: text("name").notNull(),
    email: text("email").notNull(),
    emailVerified: boolean("email_verified").notNull().default(false),
    image: text("image"),
    avatar: text("avatar"),
    avatarUrl: text("avatar_url"),
    stripeCustomerId: text("stripe_customer_id"),
    createdAt: timestamp("created_at").notNull().default(sql`timezone('utc'::text, now())`),
    updatedAt: timestamp("updated_at").notNull().default(sql`timezone('utc'::text, now())`),
  },
  (table) => [
    unique("users_email_unique").on(table.email),
    index("users_created_at_idx").on(table.createdAt),
    index("users_email_idx").on(table.email.op("text_pattern_ops")),
    index("users_stripe_customer_id_idx").on(table.stripeCustomerId),
  ],
);
export type User = typeof users.$inferSelect;
export type NewUser = typeof users.$inferInsert;

export const verifications = pgTable(
  "verifications",
  {
    id: text("id").primaryKey().default(sql`(gen_random_uuid())`),
    identifier: text("identifier").notNull(),
    value: text("value").notNull(),
    expiresAt: timestamp("expires_at").notNull(),
    createdAt: timestamp("created_at").notNull().default(sql`timezone('utc'::text, now())`),
    updatedAt: timestamp("updated_at").notNull().default(sql`timezone('utc'::text, now())`),
  },
  (table) => [
    index("verifications_identifier_idx").on(table.identifier),
  ],
);
export type Verification = typeof verifications.$inferSelect;
export type NewVerification = typeof verifications.$inferInsert;

export const accounts = pgTable(
  "accounts",
  {
    id: text("id").primaryKey().default(sql`(gen_random_uuid())`),
    userId: text("user_id").notNull().references(() => users.id, { onDelete: "cascade" }),
    accountId: text("account_id").notNull(),
    providerId: text("provider_id").notNull(),
    accessToken: text("access_token"),
    refreshToken: text("refresh_token"),
    idToken: text("id_token"),
    scope: text("scope"),
    password: text("password"),
    accessTokenExpiresAt: timestamp("access_token_expires_at"),
    refreshTokenExpiresAt: timestamp("refresh_token_expires_at"),
    createdAt: timestamp("created_at").notNull().default(sql`timezone('utc'::text, now())`),
    updatedAt: timestamp("updated_at").notNull().default(sql`timezone('utc'::text, now())`),
  },
  (table) => [
    index("accounts_user_id_idx").on(table.userId),
  ],
);
export type Account = typeof accounts.$inferSelect;
export type NewAccount = typeof accounts.$inferInsert;

export const sessions = pgTable(
  "sessions",
  {
    id: text("id").primaryKey().default(sql`(gen_random_uuid())`),
    userId: text("user_id").notNull().references(() => users.id, { onDelete: "cascade" }),
    token: text("token").notNull(),
    expiresAt: timestamp("expires_at").notNull(),
    ipAddress: text("ip_address"),
    userAgent: text("user_agent"),
    createdAt: timestamp("created_at").notNull().default(sql`timezone('utc'::text, now())`),
    updatedAt: timestamp("updated_at").notNull().default(sql`timezone('utc'::text, now())`),
  },
  (table) => [
    unique("sessions_token_unique").on(table.token),
    index("sessions_user_id_idx").on(table.userId),
  ],
);
export type Session = typeof sessions.$inferSelect;
export type NewSession = typeof sessions.$inferInsert;

export const teams = pgTable(
  "teams",
  {
    id: text("id").primaryKey().default(sql`(gen_random_uuid())`),
    name: text("name").notNull(),
    credits: integer("credits").notNull().default(0),
    ownerId: text("owner_id").references(() => users.id, { onDelete: "cascade" }),
    holdsExpireFrom: timestamp("holds_expire_from"),
    createdAt: timestamp("created_at").notNull().default(sql`timezone('utc'::text, now())`),
    updatedAt: timestamp("updated_at").notNull().default(sql`timezone('utc'::text, now())`),
  },
  (table) => [
    index("teams_name_idx").on(table.name.op("text_pattern_ops")),
    index("teams_owner_id_idx").on(table.ownerId),
    check("teams_credits_check", sql`(credits >= 0)`),
  ],
);
export type Team = typeof teams.$inferSelect;
export type NewTeam = typeof teams.$inferInsert;

export const apiKeyCredits = pgTable(
  "api_key_credits",
  {
    apiKey: text("api_key").primaryKey(),
    userId: text("user_id").notNull().references(() => users.id, { onDelete: "cascade" }),
    teamId: text("team_id").references(() => teams.id, { onDelete: "cascade" }),
    credits: integer("credits").notNull().default(0),
    dailyLimit: integer("daily_limit"),
    monthlyLimit: integer("monthly_limit"),
    spentOn: date("spent_on"),
    spentThatDay: bigint("spent_that_day", { mode: "number" }).notNull().default(0),
    spentThatMonth: bigint("spent_that_month", { mode: "number" }).notNull().default(0),
    holdsExpireFrom: timestamp("holds_expire_from"),
    createdAt: timestamp("created_at").notNull().default(sql`timezone('utc'::text, now())`),
    updatedAt: timestamp("updated_at").notNull().default(sql`timezone('utc'::text, now())`),
  },
  (table) => [
    index("api_key_credits_api_key_idx").on(sql`"right"(api_key, 4)`),
    index("api_key_credits_team_id_idx").on(table.teamId),
    index("api_key_credits_user_id_idx").on(table.userId),
    check("api_key_credits_spent_check", sql`((spent_that_day >= 0) AND (spent_that_month >= 0))`),
    check("api_key_credits_credits_check", sql`(credits >= 0)`),
    check("api_key_credits_daily_limit_check", sql`(daily_limit >= 0)`),
    check("api_key_credits_monthly_limit_check", sql`(monthly_limit >= 0)`),
  ],
);
export type ApiKeyCredits = typeof apiKeyCredits.$inferSelect;
export type NewApiKeyCredits = typeof apiKeyCredits.$inferInsert;

export const creditTransactions = pgTable(
  "credit_transactions",
  {
    id: text("id").primaryKey().default(sql`uuid7_text()`),
    userId: text("user_id").notNull().references(() => users.id, { onDelete: "cascade" }),
    teamId: text("team_id").references(() => teams.id, { onDelete: "set null" }),
    amount: integer("amount").notNull(),
    type: text("type", { enum: ["purchase", "usage", "refund", "bonus"] }).notNull(),
    operation: text("operation"),
    resourceId: text("resource_id"),
    apiKeyId: text("api_key_id"),
    transactionMetadata: jsonb("transaction_metadata"),
    refundOf: text("refund_of"),
    refundedBefore: integer("refunded_before"),
    reversalOf: text("reversal_of"),
    payer: text("payer", { enum: ["user", "team", "api_key"] }).notNull().default("user"),
    balanceAfter: integer("balance_after"),
    idempotencyKey: text("idempotency_key"),
    heldUntil: timestamp("held_until"),
    createdAt: timestamp("created_at").notNull().default(sql`timezone('utc'::text, now())`),
  },
  (table) => [
    uniqueIndex("credit_transactions_api_key_id_idempotency_key_unique").on(table.apiKeyId, table.idempotencyKey).where(sql`((type = ANY ('{purchase,bonus}'::text[])) AND (idempotency_key IS NOT NULL) AND (payer = 'api_key'::text))`),
    uniqueIndex("credit_transactions_refund_of_refunded_before_unique").on(table.refundOf, table.refundedBefore).where(sql`(refund_of IS NOT NULL)`),
    uniqueIndex("credit_transactions_team_id_idempotency_key_unique").on(table.teamId, table.idempotencyKey).where(sql`((type = ANY ('{purchase,bonus}'::text[])) AND (idempotency_key IS NOT NULL) AND (payer = 'team'::text))`),
    uniqueIndex("credit_transactions_user_id_idempotency_key_unique").on(table.userId, table.idempotencyKey).where(sql`(idempotency_key IS NOT NULL)`),
    index("credit_transactions_holds_idx").on(sql`COALESCE(api_key_id, team_id, user_id)`, sql`held_until`).where(sql`((held_until IS NOT NULL) AND (amount < 0))`),
    index("credit_transactions_created_at_idx").on(table.createdAt),
    index("credit_transactions_idempotency_key_idx").on(table.idempotencyKey.op("text_pattern_ops")).where(sql`(idempotency_key IS NOT NULL)`),
    index("credit_transactions_operation_created_at_idx").on(table.operation, table.createdAt),
    index("credit_transactions_team_id_idx").on(table.teamId),
    index("credit_transactions_pool_idx").on(table.teamId, table.apiKeyId).where(sql`(NOT (payer = 'user'::text))`),
    index("credit_transactions_type_idx").on(table.type),
    index("credit_transactions_type_created_at_idx").on(table.type, table.createdAt).where(sql`(NOT (type = 'usage'::text))`),
    index("credit_transactions_user_id_created_at_idx").on(table.userId, table.createdAt),
    index("credit_transactions_user_id_reversal_of_idx").on(table.userId, table.reversalOf).where(sql`(reversal_of IS NOT NULL)`),
    check("credit_transactions_payer_api_key_id_check", sql`((NOT (payer = 'api_key'::text)) OR (api_key_id IS NOT NULL))`),
    check("credit_transactions_amount_type_check", sql`((amount < 0) = (type = 'usage'::text))`),
    check("credit_transactions_held_until_type_check", sql`((held_until IS NULL) OR (type = 'usage'::text) OR (refund_of IS NOT NULL))`),
    check("credit_transactions_refund_of_type_check", sql`((refund_of IS NULL) OR (type = 'refund'::text))`),
    check("credit_transactions_amount_check", sql`(NOT (amount = 0))`),
    check("credit_transactions_balance_after_check", sql`(balance_after >= 0)`),
    check("credit_transactions_idempotency_key_check", sql`(idempotency_key > ''::text)`),
    check("credit_transactions_payer_check", sql`(payer = ANY ('{user,team,api_key}'::text[]))`),
    check("credit_transactions_type_check", sql`(type = ANY ('{purchase,usage,refund,bonus}'::text[]))`),
  ],
);
export type CreditTransaction = typeof creditTransactions.$inferSelect;
export type NewCreditTransaction = typeof creditTransactions.$inferInsert;

export const userCredits = pgTable(
  "user_credits",
  {
    userId: text("user_id").primaryKey().references(() => users.id, { onDelete: "cascade" }),
    credits: integer("credits").notNull().default(0),
    totalCreditsPurchased: integer("total_credits_purchased").notNull().default(0),
    teamId: text("team_id").references(() => teams.id),
    holdsExpireFrom: timestamp("holds_expire_from"),
    createdAt: timestamp("created_at").notNull().default(sql`timezone('utc'::text, now())`),
    updatedAt: timestamp("updated_at").notNull().default(sql`timezone('utc'::text, now())`),
  },
  (table) => [
    index("user_credits_team_id_idx").on(table.teamId),
    check("user_credits_credits_check", sql`(credits >= 0)`),
    check("user_credits_total_credits_purchased_check", sql`(total_credits_purchased >= 0)`),
  ],
);
export type UserCredits = typeof userCredits.$inferSelect;
export type NewUserCredits = typeof userCredits.$inferInsert;

// Of the records of migrations: so that `drizzle-kit push` leaves them alone.
export const djangoMigrationsIdSeq = pgSequence("django_migrations_id_seq", { maxValue: "9223372036854775807" });
export const drizzleMigrationsIdSeq = pgSequence("__drizzle_migrations_id_seq", { maxValue: "2147483647" });
