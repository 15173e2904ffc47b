// argv: a database URL. Each client says which database it has reached by it, as one JSON object.
import pg from "pg";
import postgres from "postgres";

const url = process.argv[2];
const query = "SELECT current_database() AS name";
const client = new pg.Client({ connectionString: url });
await client.connect();
const sql = postgres(url);
const saw = {
  URL: new URL(url).pathname.slice(1),
  "node-postgres": (await client.query(query)).rows[0].name,
  "postgres.js": (await sql.unsafe(query))[0].name,
};
await client.end();
await sql.end();
console.log(JSON.stringify(saw));
