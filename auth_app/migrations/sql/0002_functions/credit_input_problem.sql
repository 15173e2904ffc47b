-- What is wrong with the arguments of a call of the ledger, in a sentence; NULL where they are fine.
-- pg_column_size is quick and a sixth of the text's length at least, so the text is seldom made.
CREATE OR REPLACE FUNCTION public.credit_input_problem(
    p_user_id text, p_amount bigint, p_operation text, p_idempotency_key text, p_metadata jsonb
) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN CASE
        WHEN p_user_id IS NULL OR p_user_id = '' THEN 'user_id is missing'
        WHEN p_amount IS NULL OR p_amount NOT BETWEEN 1 AND 2147483647 THEN format(
            'an amount of credits is from 1 to 2147483647, got %s', coalesce(p_amount::text, 'NULL'))
        WHEN p_operation IS NULL OR p_operation = '' THEN 'operation is missing'
        WHEN p_idempotency_key = '' THEN 'idempotency_key is empty; leave it out or give NULL'
        WHEN length(p_idempotency_key) > 255 THEN format(
            'idempotency_key has %s characters, and 255 at most are allowed',
            length(p_idempotency_key))
        WHEN pg_column_size(p_metadata) > 2700 AND octet_length(p_metadata::text) > 16384 THEN format(
            'metadata has %s bytes, and 16384 at most are allowed', octet_length(p_metadata::text))
    END;
END
$$;

REVOKE ALL ON FUNCTION public.credit_input_problem FROM PUBLIC;
