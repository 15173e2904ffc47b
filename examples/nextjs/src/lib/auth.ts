import { betterAuth } from "better-auth";
import { drizzleAdapter } from "better-auth/adapters/drizzle";
import { nextCookies } from "better-auth/next-js";
import { headers } from "next/headers";
import { redirect } from "next/navigation";

import { db, schema } from "@/db";

// BETTER_AUTH_SECRET and BETTER_AUTH_URL are read from the environment. A new user's credits are the
// database's business: a trigger opens the account.
export const auth = betterAuth({
  database: drizzleAdapter(db, { provider: "pg", usePlural: true, schema }),
  emailAndPassword: { enabled: true },
  plugins: [nextCookies()],
});

/** The user who is logged in; anybody else is sent to the log-in. */
export async function requireUser() {
  const session = await auth.api.getSession({ headers: await headers() });
  if (!session) redirect("/log-in");
  return session.user;
}
