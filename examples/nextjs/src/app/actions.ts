"use server";

import { revalidatePath } from "next/cache";
import { headers } from "next/headers";
import { redirect } from "next/navigation";

import { db } from "@/db";
import { CreditError, consumeCredits } from "@/db/credits";
import { auth, requireUser } from "@/lib/auth";
import { QUESTION } from "@/lib/pricing";

/** Spend the credits of a question; what is wrong, or null. */
export async function ask(_: string | null, form: FormData): Promise<string | null> {
  const user = await requireUser();
  const key = form.get("key");
  if (typeof key !== "string" || !/^[0-9a-f-]{36}$/.test(key)) return "Load the page again.";
  try {
    // The form's key makes a double click one question.
    await consumeCredits(db, {
      userId: user.id,
      amount: QUESTION,
      operation: "question",
      idempotencyKey: `question:${user.id}:${key}`,
    });
  } catch (error) {
    if (!(error instanceof CreditError)) throw error;
    return `Not asked: ${error.message}.`;
  }
  revalidatePath("/");
  return null;
}

export async function logOut() {
  await auth.api.signOut({ headers: await headers() });
  redirect("/log-in");
}
