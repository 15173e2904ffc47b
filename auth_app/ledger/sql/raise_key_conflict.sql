-- The error where a row with the call's idempotency key was committed after the call had looked for it:
-- by a program that wrote it without the lock on the user. Sent again, the call finds that row.
-- A snapshot older than such a row (REPEATABLE READ) gets the same SQLSTATE from PostgreSQL.
CREATE OR REPLACE FUNCTION public.raise_key_conflict() RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'the idempotency key was used by another transaction at the same time'
        USING ERRCODE = 'serialization_failure', HINT = 'Send the call again.';
END
$$;

REVOKE ALL ON FUNCTION public.raise_key_conflict FROM PUBLIC;
