import { defineConfig } from "drizzle-kit";

// A schema that the test has written from the contract, and the folder of its migrations.
export default defineConfig({
  dialect: "postgresql",
  schema: process.env.DRIZZLE_SCHEMA,
  out: process.env.DRIZZLE_OUT,
  dbCredentials: { url: process.env.DRIZZLE_URL },
  migrations: { schema: "public" },
});
