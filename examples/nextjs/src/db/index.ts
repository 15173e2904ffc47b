import { drizzle } from "drizzle-orm/node-postgres";
import { Pool, types } from "pg";

import * as schema from "./schema";

// Columns are times of UTC without a zone, which node-postgres would read as local time.
types.setTypeParser(types.builtins.TIMESTAMP, (text) => new Date(`${text.replace(" ", "T")}Z`));

// One pool, also where the development server loads this file again.
const kept = globalThis as { pool?: Pool };
const pool = (kept.pool ??= new Pool({ connectionString: process.env.AUTH_DATABASE_URL }));
pool.on("error", (error) => console.error("an idle connection was lost:", error.message));

export const db = drizzle(pool, { schema });
export { schema };
