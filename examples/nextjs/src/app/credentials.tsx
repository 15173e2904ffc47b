"use client";

import { useRouter } from "next/navigation";
import { useActionState } from "react";

import { authClient } from "@/lib/auth-client";

/** The form of the sign-up and of the log-in. */
export function Credentials({ signUp = false }: { signUp?: boolean }) {
  const router = useRouter();
  const [problem, submit, pending] = useActionState(async (_: string | null, form: FormData) => {
    const email = String(form.get("email"));
    const password = String(form.get("password"));
    const { error } = signUp
      ? await authClient.signUp.email({ name: String(form.get("name")), email, password })
      : await authClient.signIn.email({ email, password });
    if (error) return error.message ?? "That did not work. Try again.";
    router.push("/");
    router.refresh();
    return null;
  }, null);
  return (
    <form action={submit}>
      {signUp && (
        <label>
          Name
          <input name="name" autoComplete="name" required />
        </label>
      )}
      <label>
        Email
        <input name="email" type="email" autoComplete="email" required />
      </label>
      <label>
        Password
        <input
          name="password"
          type="password"
          minLength={8}
          autoComplete={signUp ? "new-password" : "current-password"}
          required
        />
      </label>
      <button disabled={pending}>{signUp ? "Sign up" : "Log in"}</button>
      {problem && <p role="alert">{problem}</p>}
    </form>
  );
}
