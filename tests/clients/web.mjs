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
const auth = betterAuth({
  secret: process.env.BETTER_AUTH_SECRET,
  baseURL: `http://127.0.0.1:${port}`,
  database: drizzleAdapter(drizzle(pool, { schema }), { provider: "pg", usePlural: true, schema }),
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
if (fault === "local-time") {
  // As node-postgres without Drizzle writes a time, in Tokyo.
  const inUtc = Date.prototype.toISOString;
  Date.prototype.toISOString = function () {
    return inUtc.call(new Date(this.getTime() + 9 * 3_600_000));
  };
}
const handle = toNodeHandler(auth);

createServer((request, response) => {
  if (fault === "no-log-out" && request.url.endsWith("/sign-out")) {
    response.setHeader("Content-Type", "application/json");
    return response.end('{"success":true}');
  }
  return handle(request, response);
}).listen(Number(port), "127.0.0.1");
