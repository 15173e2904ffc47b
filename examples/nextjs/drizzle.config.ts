import { defineConfig } from "drizzle-kit";

// The URL of the migrations: past a pooler, where there is one.
const url = process.env.AUTH_DIRECT_URL ?? process.env.AUTH_DATABASE_URL;
if (!url) throw new Error("Set AUTH_DATABASE_URL: `manage.py postgres url --format env` prints it.");

export default defineConfig({
  dialect: "postgresql",
  schema: "./src/db/schema.ts",
  out: "./drizzle",
  dbCredentials: { url },
  // Django looks for the record there, and Drizzle leaves Django's tables alone.
  migrations: { schema: "public" },
  tablesFilter: ["subscriptions", "users", "verifications", "accounts", "sessions", "teams", "api_key_credits", "credit_transactions", "user_credits"],
});
