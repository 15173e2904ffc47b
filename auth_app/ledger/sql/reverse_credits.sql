-- try_reverse_credits for clients that want an error: the row, or SQLSTATE LC002, LC003 or LC005.
CREATE OR REPLACE FUNCTION public.reverse_credits(
    p_purchase_id text, p_amount integer DEFAULT NULL, p_metadata jsonb DEFAULT NULL,
    p_idempotency_key text DEFAULT NULL
) RETURNS public.credit_transactions
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_result record;
BEGIN
    v_result := public.try_reverse_credits(p_purchase_id, p_amount, p_metadata, p_idempotency_key);
    IF v_result.verdict NOT IN ('done', 'replayed') THEN
        PERFORM public.raise_credit_refusal(
            v_result.verdict, v_result.balance, p_amount, format('purchase %L', p_purchase_id));
    END IF;
    RETURN v_result.entry;
END
$$;

REVOKE ALL ON FUNCTION public.reverse_credits FROM PUBLIC;
