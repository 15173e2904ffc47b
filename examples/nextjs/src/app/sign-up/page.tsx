import Link from "next/link";

import { Credentials } from "../credentials";

export default function SignUp() {
  return (
    <>
      <h1>Sign up</h1>
      <Credentials signUp />
      <p>
        <Link href="/log-in">I have an account</Link>
      </p>
    </>
  );
}
