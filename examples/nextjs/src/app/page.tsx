import { desc, eq } from "drizzle-orm";

import { db, schema } from "@/db";
import { requireUser } from "@/lib/auth";
import { QUESTION } from "@/lib/pricing";

import { logOut } from "./actions";
import { Ask } from "./ask";

export default async function Home() {
  const user = await requireUser();
  const { creditTransactions, userCredits } = schema;
  const [[account], history] = await Promise.all([
    db.select().from(userCredits).where(eq(userCredits.userId, user.id)),
    db
      .select()
      .from(creditTransactions)
      .where(eq(creditTransactions.userId, user.id))
      .orderBy(desc(creditTransactions.id))
      .limit(20),
  ]);
  return (
    <>
      <h1>Hello, {user.name}</h1>
      <p>
        You have <strong id="balance">{account?.credits ?? 0}</strong> credits.
      </p>
      <Ask cost={QUESTION} idempotencyKey={crypto.randomUUID()} />
      <h2>History</h2>
      <table>
        <thead>
          <tr>
            <th>Time (UTC)</th>
            <th>What</th>
            <th className="number">Credits</th>
            <th className="number">Balance</th>
          </tr>
        </thead>
        <tbody>
          {history.map((row) => (
            <tr key={row.id}>
              <td>{row.createdAt.toISOString().slice(0, 19).replace("T", " ")}</td>
              <td>{row.operation ?? row.type}</td>
              <td className="number">{row.amount}</td>
              <td className="number">{row.balanceAfter}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <form action={logOut}>
        <button>Log out</button>
      </form>
    </>
  );
}
