-- Locks the account that pays and returns its balance; NULL where there is none that the user may
-- use. With must_belong the user has to own the team or be its member. A reader of a snapshot older
-- than the account's last change gets 40001 here, before it can act on what it did not see.
-- Locks in the order of everything: the user, then the team, then the key. The lock on the user makes
-- calls with one idempotency key wait for each other, whoever pays. Without the user nothing is locked: one
-- who signs up under this id meanwhile would be locked after the account.
CREATE OR REPLACE FUNCTION public.lock_credit_account(
    p_payer text, p_user_id text, p_team_id text, p_api_key text, p_must_belong boolean
) RETURNS integer
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_balance integer;
BEGIN
    PERFORM FROM public.users u WHERE u.id = p_user_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    IF p_payer = 'user' THEN
        SELECT a.credits INTO v_balance FROM public.user_credits a
        WHERE a.user_id = p_user_id FOR NO KEY UPDATE;
    ELSIF p_payer = 'team' THEN
        SELECT a.credits INTO v_balance FROM public.teams a
        WHERE a.id = p_team_id
          AND (NOT p_must_belong OR a.owner_id = p_user_id OR EXISTS (
              SELECT FROM public.user_credits m
              WHERE m.user_id = p_user_id AND m.team_id = a.id))
        FOR NO KEY UPDATE;
    ELSE
        PERFORM FROM public.teams t
        WHERE t.id = (SELECT a.team_id FROM public.api_key_credits a WHERE a.api_key = p_api_key)
        FOR KEY SHARE;
        SELECT a.credits INTO v_balance FROM public.api_key_credits a
        WHERE a.api_key = p_api_key AND a.user_id = p_user_id
          AND (p_team_id IS NULL OR a.team_id = p_team_id)
        FOR NO KEY UPDATE;
    END IF;
    RETURN v_balance;
END
$$;

REVOKE EXECUTE ON FUNCTION public.lock_credit_account FROM PUBLIC;
