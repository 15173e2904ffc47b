import { defineConfig } from "drizzle-kit";

export default defineConfig({
  dialect: "postgresql",
  schema: "./schema.mjs",
  out: process.env.DRIZZLE_OUT,
  dbCredentials: { url: process.env.AUTH_DATABASE_URL },
  migrations: { schema: "public" },
});
