-- Raises LC007, naming it, for the first argument that no call of the ledger takes. Limits: a key fits
-- into its index and metadata into a row that is read quickly, whatever a client sends.
CREATE OR REPLACE FUNCTION public.check_credit_input(
    p_user_id text, p_amount bigint, p_operation text, p_idempotency_key text, p_metadata jsonb
) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_problem text := public.credit_input_problem(
        p_user_id, p_amount, p_operation, p_idempotency_key, p_metadata);
BEGIN
    IF v_problem IS NOT NULL THEN
        RAISE EXCEPTION '%', v_problem USING ERRCODE = 'LC007';
    END IF;
END
$$;

REVOKE ALL ON FUNCTION public.check_credit_input FROM PUBLIC;
