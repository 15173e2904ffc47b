// A plugin of the real Better Auth: what it wants of the database, and a sign-up with it over the exported schema.
// argv: the plugin, and "tables" or "use".
import { betterAuth } from "better-auth";
import { drizzleAdapter } from "better-auth/adapters/drizzle";
import { getAuthTables } from "better-auth/db";
import { admin, jwt, organization, twoFactor } from "better-auth/plugins";
import { drizzle } from "drizzle-orm/node-postgres";
import pg from "pg";

const [name, what] = process.argv.slice(2);
const plugin = { admin, jwt, organization, "two-factor": twoFactor }[name]();

if (what === "tables") {
  const known = getAuthTables({});
  const wanted = {};
  for (const [model, table] of Object.entries(getAuthTables({ plugins: [plugin] }))) {
    for (const [field, attributes] of Object.entries(table.fields)) {
      if (known[model]?.fields[field]) continue;
      const { type, required, defaultValue, unique, index, references } = attributes;
      const made = typeof defaultValue === "function" ? "made" : (defaultValue ?? null);
      const target = references?.model ?? null;
      (wanted[`${table.modelName}s`] ??= {})[field] = { type, required, made, unique: !!unique, index: !!index, target };
    }
  }
  console.log(JSON.stringify(wanted));
} else {
  const schema = await import(`./plugin_${name}.mjs`);
  const pool = new pg.Pool({ connectionString: process.env.AUTH_DATABASE_URL });
  const auth = betterAuth({
    secret: "0123456789abcdef0123456789abcdef",
    baseURL: "http://localhost:3000",
    database: drizzleAdapter(drizzle(pool, { schema }), { provider: "pg", usePlural: true, schema }),
    emailAndPassword: { enabled: true },
    plugins: [plugin],
    telemetry: { enabled: false },
    logger: { level: "error" },
  });
  const password = "correct horse battery";
  const signed = await auth.api.signUpEmail({
    body: { name: "Ada", email: "ada@example.org", password },
    asResponse: true,
  });
  const headers = new Headers({ cookie: signed.headers.get("set-cookie").split(";")[0] });
  const used = {
    admin: async () => (await auth.api.getSession({ headers })).user.role,
    jwt: async () => (await auth.api.getToken({ headers })).token.split(".").length,
    organization: async () => (await auth.api.createOrganization({ headers, body: { name: "Birds", slug: "birds" } })).slug,
    "two-factor": async () => (await auth.api.enableTwoFactor({ headers, body: { password } })).backupCodes.length,
  }[name];
  console.log(JSON.stringify(await used()));
  await pool.end();
}
