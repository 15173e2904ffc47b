CREATE SEQUENCE "public"."django_migrations_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1;--> statement-breakpoint
CREATE SEQUENCE "public"."__drizzle_migrations_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 2147483647 START WITH 1 CACHE 1;--> statement-breakpoint
CREATE TABLE "accounts" (
	"id" text PRIMARY KEY DEFAULT (gen_random_uuid()) NOT NULL,
	"user_id" text NOT NULL,
	"account_id" text NOT NULL,
	"provider_id" text NOT NULL,
	"access_token" text,
	"refresh_token" text,
	"id_token" text,
	"scope" text,
	"password" text,
	"access_token_expires_at" timestamp,
	"refresh_token_expires_at" timestamp,
	"created_at" timestamp DEFAULT timezone('utc'::text, now()) NOT NULL,
	"updated_at" timestamp DEFAULT timezone('utc'::text, now()) NOT NULL
);
--> statement-breakpoint
CREATE TABLE "api_key_credits" (
	"api_key" text PRIMARY KEY NOT NULL,
	"user_id" text NOT NULL,
	"team_id" text,
	"credits" integer DEFAULT 0 NOT NULL,
	"daily_limit" integer,
	"monthly_limit" integer,
	"spent_on" date,
	"spent_that_day" bigint DEFAULT 0 NOT NULL,
	"spent_that_month" bigint DEFAULT 0 NOT NULL,
	"holds_expire_from" timestamp,
	"created_at" timestamp DEFAULT timezone('utc'::text, now()) NOT NULL,
	"updated_at" timestamp DEFAULT timezone('utc'::text, now()) NOT NULL,
	CONSTRAINT "api_key_credits_spent_check" CHECK (((spent_that_day >= 0) AND (spent_that_month >= 0))),
	CONSTRAINT "api_key_credits_credits_check" CHECK ((credits >= 0)),
	CONSTRAINT "api_key_credits_daily_limit_check" CHECK ((daily_limit >= 0)),
	CONSTRAINT "api_key_credits_monthly_limit_check" CHECK ((monthly_limit >= 0))
);
--> statement-breakpoint
CREATE TABLE "credit_transactions" (
	"id" text PRIMARY KEY DEFAULT uuid7_text() NOT NULL,
	"user_id" text NOT NULL,
	"team_id" text,
	"amount" integer NOT NULL,
	"type" text NOT NULL,
	"operation" text,
	"resource_id" text,
	"api_key_id" text,
	"transaction_metadata" jsonb,
	"refund_of" text,
	"refunded_before" integer,
	"reversal_of" text,
	"payer" text DEFAULT 'user' NOT NULL,
	"balance_after" integer,
	"idempotency_key" text,
	"held_until" timestamp,
	"created_at" timestamp DEFAULT timezone('utc'::text, now()) NOT NULL,
	CONSTRAINT "credit_transactions_payer_api_key_id_check" CHECK (((NOT (payer = 'api_key'::text)) OR (api_key_id IS NOT NULL))),
	CONSTRAINT "credit_transactions_amount_type_check" CHECK (((amount < 0) = (type = 'usage'::text))),
	CONSTRAINT "credit_transactions_held_until_type_check" CHECK (((held_until IS NULL) OR (type = 'usage'::text) OR (refund_of IS NOT NULL))),
	CONSTRAINT "credit_transactions_refund_of_type_check" CHECK (((refund_of IS NULL) OR (type = 'refund'::text))),
	CONSTRAINT "credit_transactions_amount_check" CHECK ((NOT (amount = 0))),
	CONSTRAINT "credit_transactions_balance_after_check" CHECK ((balance_after >= 0)),
	CONSTRAINT "credit_transactions_idempotency_key_check" CHECK ((idempotency_key > ''::text)),
	CONSTRAINT "credit_transactions_payer_check" CHECK ((payer = ANY ('{user,team,api_key}'::text[]))),
	CONSTRAINT "credit_transactions_type_check" CHECK ((type = ANY ('{purchase,usage,refund,bonus}'::text[])))
);
--> statement-breakpoint
CREATE TABLE "sessions" (
	"id" text PRIMARY KEY DEFAULT (gen_random_uuid()) NOT NULL,
	"user_id" text NOT NULL,
	"token" text NOT NULL,
	"expires_at" timestamp NOT NULL,
	"ip_address" text,
	"user_agent" text,
	"created_at" timestamp DEFAULT timezone('utc'::text, now()) NOT NULL,
	"updated_at" timestamp DEFAULT timezone('utc'::text, now()) NOT NULL,
	CONSTRAINT "sessions_token_unique" UNIQUE("token")
);
--> statement-breakpoint
CREATE TABLE "subscriptions" (
	"id" text PRIMARY KEY DEFAULT (gen_random_uuid()) NOT NULL,
	"plan" text NOT NULL,
	"reference_id" text NOT NULL,
	"stripe_customer_id" text,
	"stripe_subscription_id" text,
	"status" text DEFAULT 'incomplete' NOT NULL,
	"period_start" timestamp,
	"period_end" timestamp,
	"trial_start" timestamp,
	"trial_end" timestamp,
	"cancel_at_period_end" boolean DEFAULT false,
	"cancel_at" timestamp,
	"canceled_at" timestamp,
	"ended_at" timestamp,
	"seats" integer,
	"billing_interval" text,
	"stripe_schedule_id" text
);
--> statement-breakpoint
CREATE TABLE "teams" (
	"id" text PRIMARY KEY DEFAULT (gen_random_uuid()) NOT NULL,
	"name" text NOT NULL,
	"credits" integer DEFAULT 0 NOT NULL,
	"owner_id" text,
	"holds_expire_from" timestamp,
	"created_at" timestamp DEFAULT timezone('utc'::text, now()) NOT NULL,
	"updated_at" timestamp DEFAULT timezone('utc'::text, now()) NOT NULL,
	CONSTRAINT "teams_credits_check" CHECK ((credits >= 0))
);
--> statement-breakpoint
CREATE TABLE "user_credits" (
	"user_id" text PRIMARY KEY NOT NULL,
	"credits" integer DEFAULT 0 NOT NULL,
	"total_credits_purchased" integer DEFAULT 0 NOT NULL,
	"team_id" text,
	"holds_expire_from" timestamp,
	"created_at" timestamp DEFAULT timezone('utc'::text, now()) NOT NULL,
	"updated_at" timestamp DEFAULT timezone('utc'::text, now()) NOT NULL,
	CONSTRAINT "user_credits_credits_check" CHECK ((credits >= 0)),
	CONSTRAINT "user_credits_total_credits_purchased_check" CHECK ((total_credits_purchased >= 0))
);
--> statement-breakpoint
CREATE TABLE "users" (
	"id" text PRIMARY KEY DEFAULT (gen_random_uuid()) NOT NULL,
	"name" text NOT NULL,
	"email" text NOT NULL,
	"email_verified" boolean DEFAULT false NOT NULL,
	"image" text,
	"avatar" text,
	"avatar_url" text,
	"stripe_customer_id" text,
	"created_at" timestamp DEFAULT timezone('utc'::text, now()) NOT NULL,
	"updated_at" timestamp DEFAULT timezone('utc'::text, now()) NOT NULL,
	CONSTRAINT "users_email_unique" UNIQUE("email")
);
--> statement-breakpoint
CREATE TABLE "verifications" (
	"id" text PRIMARY KEY DEFAULT (gen_random_uuid()) NOT NULL,
	"identifier" text NOT NULL,
	"value" text NOT NULL,
	"expires_at" timestamp NOT NULL,
	"created_at" timestamp DEFAULT timezone('utc'::text, now()) NOT NULL,
	"updated_at" timestamp DEFAULT timezone('utc'::text, now()) NOT NULL
);
--> statement-breakpoint
ALTER TABLE "accounts" ADD CONSTRAINT "accounts_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "public"."users"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "api_key_credits" ADD CONSTRAINT "api_key_credits_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "public"."users"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "api_key_credits" ADD CONSTRAINT "api_key_credits_team_id_teams_id_fk" FOREIGN KEY ("team_id") REFERENCES "public"."teams"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "credit_transactions" ADD CONSTRAINT "credit_transactions_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "public"."users"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "credit_transactions" ADD CONSTRAINT "credit_transactions_team_id_teams_id_fk" FOREIGN KEY ("team_id") REFERENCES "public"."teams"("id") ON DELETE set null ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "sessions" ADD CONSTRAINT "sessions_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "public"."users"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "teams" ADD CONSTRAINT "teams_owner_id_users_id_fk" FOREIGN KEY ("owner_id") REFERENCES "public"."users"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "user_credits" ADD CONSTRAINT "user_credits_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "public"."users"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "user_credits" ADD CONSTRAINT "user_credits_team_id_teams_id_fk" FOREIGN KEY ("team_id") REFERENCES "public"."teams"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "accounts_user_id_idx" ON "accounts" USING btree ("user_id");--> statement-breakpoint
CREATE INDEX "api_key_credits_api_key_idx" ON "api_key_credits" USING btree ("right"(api_key, 4));--> statement-breakpoint
CREATE INDEX "api_key_credits_team_id_idx" ON "api_key_credits" USING btree ("team_id");--> statement-breakpoint
CREATE INDEX "api_key_credits_user_id_idx" ON "api_key_credits" USING btree ("user_id");--> statement-breakpoint
CREATE UNIQUE INDEX "credit_transactions_api_key_id_idempotency_key_unique" ON "credit_transactions" USING btree ("api_key_id","idempotency_key") WHERE ((type = ANY ('{purchase,bonus}'::text[])) AND (idempotency_key IS NOT NULL) AND (payer = 'api_key'::text));--> statement-breakpoint
CREATE UNIQUE INDEX "credit_transactions_refund_of_refunded_before_unique" ON "credit_transactions" USING btree ("refund_of","refunded_before") WHERE (refund_of IS NOT NULL);--> statement-breakpoint
CREATE UNIQUE INDEX "credit_transactions_team_id_idempotency_key_unique" ON "credit_transactions" USING btree ("team_id","idempotency_key") WHERE ((type = ANY ('{purchase,bonus}'::text[])) AND (idempotency_key IS NOT NULL) AND (payer = 'team'::text));--> statement-breakpoint
CREATE UNIQUE INDEX "credit_transactions_user_id_idempotency_key_unique" ON "credit_transactions" USING btree ("user_id","idempotency_key") WHERE (idempotency_key IS NOT NULL);--> statement-breakpoint
CREATE INDEX "credit_transactions_holds_idx" ON "credit_transactions" USING btree (COALESCE(api_key_id, team_id, user_id),held_until) WHERE ((held_until IS NOT NULL) AND (amount < 0));--> statement-breakpoint
CREATE INDEX "credit_transactions_created_at_idx" ON "credit_transactions" USING btree ("created_at");--> statement-breakpoint
CREATE INDEX "credit_transactions_idempotency_key_idx" ON "credit_transactions" USING btree ("idempotency_key" text_pattern_ops) WHERE (idempotency_key IS NOT NULL);--> statement-breakpoint
CREATE INDEX "credit_transactions_operation_created_at_idx" ON "credit_transactions" USING btree ("operation","created_at");--> statement-breakpoint
CREATE INDEX "credit_transactions_team_id_idx" ON "credit_transactions" USING btree ("team_id");--> statement-breakpoint
CREATE INDEX "credit_transactions_pool_idx" ON "credit_transactions" USING btree ("team_id","api_key_id") WHERE (NOT (payer = 'user'::text));--> statement-breakpoint
CREATE INDEX "credit_transactions_type_idx" ON "credit_transactions" USING btree ("type");--> statement-breakpoint
CREATE INDEX "credit_transactions_type_created_at_idx" ON "credit_transactions" USING btree ("type","created_at") WHERE (NOT (type = 'usage'::text));--> statement-breakpoint
CREATE INDEX "credit_transactions_user_id_created_at_idx" ON "credit_transactions" USING btree ("user_id","created_at");--> statement-breakpoint
CREATE INDEX "credit_transactions_user_id_reversal_of_idx" ON "credit_transactions" USING btree ("user_id","reversal_of") WHERE (reversal_of IS NOT NULL);--> statement-breakpoint
CREATE INDEX "sessions_user_id_idx" ON "sessions" USING btree ("user_id");--> statement-breakpoint
CREATE INDEX "subscriptions_reference_id_idx" ON "subscriptions" USING btree ("reference_id");--> statement-breakpoint
CREATE INDEX "subscriptions_stripe_customer_id_idx" ON "subscriptions" USING btree ("stripe_customer_id");--> statement-breakpoint
CREATE INDEX "subscriptions_stripe_subscription_id_idx" ON "subscriptions" USING btree ("stripe_subscription_id");--> statement-breakpoint
CREATE INDEX "teams_name_idx" ON "teams" USING btree ("name" text_pattern_ops);--> statement-breakpoint
CREATE INDEX "teams_owner_id_idx" ON "teams" USING btree ("owner_id");--> statement-breakpoint
CREATE INDEX "user_credits_team_id_idx" ON "user_credits" USING btree ("team_id");--> statement-breakpoint
CREATE INDEX "users_created_at_idx" ON "users" USING btree ("created_at");--> statement-breakpoint
CREATE INDEX "users_email_idx" ON "users" USING btree ("email" text_pattern_ops);--> statement-breakpoint
CREATE INDEX "users_stripe_customer_id_idx" ON "users" USING btree ("stripe_customer_id");--> statement-breakpoint
CREATE INDEX "verifications_identifier_idx" ON "verifications" USING btree ("identifier");