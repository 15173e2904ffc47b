import Link from "next/link";

import { Credentials } from "../credentials";

export default function LogIn() {
  return (
    <>
      <h1>Log in</h1>
      <Credentials />
      <p>
        <Link href="/sign-up">I am new here</Link>
      </p>
    </>
  );
}
