-- try_release_credits for clients that want an error: the refund's row, or SQLSTATE LC002 or LC009.
CREATE OR REPLACE FUNCTION public.release_credits(p_hold_id text)
RETURNS public.credit_transactions
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_result record;
    v_refund public.credit_transactions;
BEGIN
    v_result := public.try_release_credits(p_hold_id);
    IF v_result.verdict NOT IN ('done', 'replayed') THEN
        PERFORM public.raise_credit_refusal(
            v_result.verdict, v_result.balance, v_result.held, format('hold %L', p_hold_id));
    END IF;
    SELECT * INTO v_refund FROM public.credit_transactions t WHERE t.id = v_result.id;
    RETURN v_refund;
END
$$;

REVOKE EXECUTE ON FUNCTION public.release_credits FROM PUBLIC;
