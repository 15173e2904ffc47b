-- The balance of an account, and the time before which none of its open holds expires (NULL where it has
-- none). Read-only.
CREATE OR REPLACE FUNCTION public.credit_account_state(
    p_payer text, p_account text, OUT balance integer, OUT holds_expire_from timestamp
)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF p_payer = 'user' THEN
        SELECT a.credits, a.holds_expire_from INTO balance, holds_expire_from
        FROM public.user_credits a WHERE a.user_id = p_account;
    ELSIF p_payer = 'team' THEN
        SELECT a.credits, a.holds_expire_from INTO balance, holds_expire_from
        FROM public.teams a WHERE a.id = p_account;
    ELSE
        SELECT a.credits, a.holds_expire_from INTO balance, holds_expire_from
        FROM public.api_key_credits a WHERE a.api_key = p_account;
    END IF;
END
$$;

REVOKE EXECUTE ON FUNCTION public.credit_account_state FROM PUBLIC;
