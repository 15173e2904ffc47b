// The real Better Auth behind Node's own server, as the web application of smoke_apps.
// argv: the port, and a fault to be planted, if any.
import { createServer } from "node:http";
import { betterAuth } from "better-auth";
import { drizzleAdapter } from "better-auth/adapters/drizzle";
import { toNodeHandler } from "better-auth/node";
import { drizzle } from "drizzle-orm/node-postgres";
import pg from "pg";

import * as schema from "./schema.mjs";

const [port, fault] = process.argv.slice(2);
const pool = new pg.Pool({ connectionString: process.env.AUTH_DATABASE_URL });
const database = fault === "local-time" ? drizzle(pool) : drizzle(pool, { schema });
const auth = betterAuth({
  secret: process.env.BETTER_AUTH_SECRET,
  baseURL: `http://127.0.0.1:${port}`,
  // With the pool alone Better Auth uses Kysely over node-postgres, which writes local time.
  database: drizzleAdapter(database, { provider: "pg", usePlural: true, schema }),
  emailAndPassword: {
    enabled: true,
    requireEmailVerification: fault === "unconfirmed",
    ...(fault === "plain-passwords" && {
      password: { hash: async (password) => password, verify: async ({ hash, password }) => hash === password },
    }),
    ...(fault === "any-password" && { password: { hash: async () => "x".repeat(64), verify: async () => true } }),
  },
  telemetry: { enabled: false },
  logger: { level: "error" },
});
const handle = toNodeHandler(auth);

createServer((request, response) => {
  if (fault === "no-log-out" && request.url.endsWith("/sign-out")) {
    response.setHeader("Content-Type", "application/json");
    return response.end('{"success":true}');
  }
  return handle(request, response);
}).listen(Number(port), "127.0.0.1");
