-- try_consume_credits for clients that want an error: the row with balance_after, or SQLSTATE LC001 to LC004.
CREATE OR REPLACE FUNCTION public.consume_credits(
    p_user_id text, p_amount integer, p_operation text, p_resource_id text DEFAULT NULL,
    p_team_id text DEFAULT NULL, p_api_key text DEFAULT NULL, p_metadata jsonb DEFAULT NULL,
    p_idempotency_key text DEFAULT NULL
) RETURNS public.credit_transactions
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_result record;
    v_entry public.credit_transactions;
BEGIN
    v_result := public.try_consume_credits(
        p_user_id, p_amount, p_operation, p_resource_id, p_team_id, p_api_key, p_metadata,
        p_idempotency_key);
    IF v_result.verdict NOT IN ('done', 'replayed') THEN
        PERFORM public.raise_credit_refusal(
            v_result.verdict, v_result.balance, p_amount,
            CASE WHEN p_api_key IS NOT NULL THEN 'the API key' WHEN p_team_id IS NOT NULL
                 THEN format('team %L', p_team_id) ELSE format('user %L', p_user_id) END);
    END IF;
    SELECT * INTO v_entry FROM public.credit_transactions t WHERE t.id = v_result.id;
    RETURN v_entry;
END
$$;

REVOKE EXECUTE ON FUNCTION public.consume_credits FROM PUBLIC;
