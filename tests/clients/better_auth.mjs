// Sign up, sign in and out with the real Better Auth over Drizzle; prints what it saw as one JSON object.
// argv: how ids are made, "client" (Better Auth's own 32 letters) or "database".
import { betterAuth } from "better-auth";
import { drizzleAdapter } from "better-auth/adapters/drizzle";
import { drizzle } from "drizzle-orm/node-postgres";
import pg from "pg";

import * as schema from "./schema.mjs";

const pool = new pg.Pool({ connectionString: process.env.AUTH_DATABASE_URL });
const auth = betterAuth({
  secret: "0123456789abcdef0123456789abcdef",
  baseURL: "http://localhost:3000",
  database: drizzleAdapter(drizzle(pool, { schema }), { provider: "pg", usePlural: true, schema }),
  emailAndPassword: { enabled: true },
  // "uuid" leaves the id to the database: Better Auth then sends DEFAULT.
  advanced: process.argv[2] === "database" ? { database: { generateId: "uuid" } } : {},
  telemetry: { enabled: false },
  logger: { level: "error" },
});

const person = { name: "Ada", email: "Ada@example.org", password: "correct horse battery" };
const { user } = await auth.api.signUpEmail({ body: person });
const response = await auth.api.signInEmail({ body: person, asResponse: true });
const cookie = response.headers.get("set-cookie").split(";")[0];
const headers = new Headers({ cookie });
const { session } = await auth.api.getSession({ headers });
const wrong = await auth.api
  .signInEmail({ body: { ...person, password: "wrong" } })
  .then(() => "accepted", (error) => error.body.code);
// As many at once as a race needs; one address is one user.
const racers = await Promise.allSettled(
  Array.from({ length: 8 }, () => auth.api.signUpEmail({ body: { ...person, email: "race@example.org" } })),
);
await auth.api.signOut({ headers });
const afterwards = await auth.api.getSession({ headers });

console.log(
  JSON.stringify({
    id: user.id,
    email: user.email,
    hoursLeft: (session.expiresAt - Date.now()) / 3_600_000,
    secondsOld: (Date.now() - session.createdAt) / 1_000,
    wrong,
    raceWinners: racers.filter((racer) => racer.status === "fulfilled").length,
    afterwards,
  }),
);
await pool.end();
