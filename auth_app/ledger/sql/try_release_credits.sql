-- Gives all of the hold back. Verdicts: done, replayed (it was given back before, or has expired),
-- hold_settled, unknown_hold, unknown_account, overflow. id is the refund.
CREATE OR REPLACE FUNCTION public.try_release_credits(
    p_hold_id text,
    OUT verdict text, OUT balance integer, OUT id text, OUT held integer, OUT charged integer,
    OUT created_at timestamp
)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    SELECT s.verdict, s.balance, s.id, s.held, s.charged, s.created_at
    INTO verdict, balance, id, held, charged, created_at
    FROM public.try_settle_credits(p_hold_id, 0, p_end => 'released') AS s;
END
$$;

REVOKE EXECUTE ON FUNCTION public.try_release_credits FROM PUBLIC;
