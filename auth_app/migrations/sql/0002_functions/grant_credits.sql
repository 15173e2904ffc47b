-- try_grant_credits for clients that want an error: SQLSTATE LC002, LC003 or 22003.
CREATE OR REPLACE FUNCTION public.grant_credits(
    p_user_id text, p_amount integer, p_type text, p_operation text,
    p_resource_id text DEFAULT NULL, p_team_id text DEFAULT NULL, p_api_key text DEFAULT NULL,
    p_metadata jsonb DEFAULT NULL, p_idempotency_key text DEFAULT NULL,
    p_balance_limit integer DEFAULT NULL, p_collect boolean DEFAULT false
) RETURNS public.credit_transactions
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_result record;
BEGIN
    v_result := public.try_grant_credits(
        p_user_id, p_amount, p_type, p_operation, p_resource_id, p_team_id, p_api_key, p_metadata,
        p_idempotency_key, p_balance_limit, p_collect);
    IF v_result.verdict NOT IN ('done', 'replayed') THEN
        PERFORM public.raise_credit_refusal(
            v_result.verdict, v_result.balance, p_amount,
            CASE WHEN p_api_key IS NOT NULL THEN 'the API key' WHEN p_team_id IS NOT NULL
                 THEN format('team %L', p_team_id) ELSE format('user %L', p_user_id) END);
    END IF;
    RETURN v_result.entry;
END
$$;

REVOKE EXECUTE ON FUNCTION public.grant_credits FROM PUBLIC;
