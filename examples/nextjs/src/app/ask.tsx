"use client";

import { useActionState } from "react";

import { ask } from "./actions";

/** The button that spends; `idempotencyKey` is new for each page that is shown. */
export function Ask({ cost, idempotencyKey }: { cost: number; idempotencyKey: string }) {
  const [problem, submit, pending] = useActionState(ask, null);
  return (
    <form action={submit}>
      <input type="hidden" name="key" value={idempotencyKey} />
      <button disabled={pending}>Ask for {cost} credits</button>
      {problem && <p role="alert">{problem}</p>}
    </form>
  );
}
