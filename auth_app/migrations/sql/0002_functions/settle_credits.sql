-- try_settle_credits for clients that want an error: SQLSTATE LC002, LC008 or LC009. charged,
-- uncharged and balance are what came of it, id is the usage's.
CREATE OR REPLACE FUNCTION public.settle_credits(
    p_hold_id text, p_used integer, p_overage boolean DEFAULT false, p_metadata jsonb DEFAULT NULL,
    OUT balance integer, OUT id text, OUT held integer, OUT charged integer, OUT uncharged integer,
    OUT created_at timestamp
)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_verdict text;
BEGIN
    SELECT r.verdict, r.balance, r.id, r.held, r.charged, r.uncharged, r.created_at
    INTO v_verdict, balance, id, held, charged, uncharged, created_at
    FROM public.try_settle_credits(p_hold_id, p_used, p_overage, p_metadata) AS r;
    IF v_verdict NOT IN ('done', 'replayed') THEN
        PERFORM public.raise_credit_refusal(
            v_verdict, CASE v_verdict WHEN 'above_hold' THEN held ELSE balance END, p_used,
            format('hold %L', p_hold_id));
    END IF;
END
$$;

REVOKE EXECUTE ON FUNCTION public.settle_credits FROM PUBLIC;
