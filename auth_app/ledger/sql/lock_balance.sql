-- Locks the account and nothing else, and says what credit_account_state says.
CREATE OR REPLACE FUNCTION public.lock_balance(
    p_payer text, p_account text, OUT balance integer, OUT holds_expire_from timestamp
)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF p_payer = 'user' THEN
        SELECT a.credits, a.holds_expire_from INTO balance, holds_expire_from
        FROM public.user_credits a WHERE a.user_id = p_account FOR NO KEY UPDATE;
    ELSIF p_payer = 'team' THEN
        SELECT a.credits, a.holds_expire_from INTO balance, holds_expire_from
        FROM public.teams a WHERE a.id = p_account FOR NO KEY UPDATE;
    ELSE
        SELECT a.credits, a.holds_expire_from INTO balance, holds_expire_from
        FROM public.api_key_credits a WHERE a.api_key = p_account FOR NO KEY UPDATE;
    END IF;
END
$$;

REVOKE EXECUTE ON FUNCTION public.lock_balance FROM PUBLIC;
