-- Gives the expired holds of an account back, but for p_except, and returns how many those were. For
-- whoever finds too little in it: holds_expire_from says at once when there is nothing to look for,
-- and goes on past what was looked through, so that no refusal looks through it again. With p_most it
-- looks through so many holds only.
-- The caller has locked its user, or has no lock yet. Only the account is locked here.
CREATE OR REPLACE FUNCTION public.release_expired_credits(
    p_payer text, p_account text, p_except text DEFAULT NULL, p_most integer DEFAULT NULL
) RETURNS integer
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_until timestamp := timezone('utc', clock_timestamp());
    v_first timestamp := (public.credit_account_state(p_payer, p_account)).holds_expire_from;
    v_left timestamp;
    v_hold text;
    v_released integer := 0;
BEGIN
    IF v_first IS NULL OR v_first > v_until THEN
        RETURN 0;
    END IF;
    IF p_payer = 'api_key' THEN
        PERFORM FROM public.teams t
        WHERE t.id = (SELECT a.team_id FROM public.api_key_credits a WHERE a.api_key = p_account)
        FOR KEY SHARE;
    END IF;
    v_first := (public.lock_balance(p_payer, p_account)).holds_expire_from;
    IF p_most IS NOT NULL THEN
        v_until := least(v_until, (
            SELECT h.held_until FROM public.credit_transactions h
            WHERE coalesce(h.api_key_id, h.team_id, h.user_id) = p_account
              AND h.held_until >= v_first AND h.amount < 0 AND h.payer = p_payer
            ORDER BY h.held_until OFFSET p_most LIMIT 1));
    END IF;
    FOR v_hold IN
        SELECT h.id FROM public.credit_transactions h
        -- Of a team, also others' holds. Their users come before the account in the order of locks, so
        -- one that somebody has locked, to delete the user, is not waited for.
        JOIN public.users u ON u.id = h.user_id
        WHERE coalesce(h.api_key_id, h.team_id, h.user_id) = p_account
          AND h.held_until >= v_first AND h.held_until <= v_until
          AND h.amount < 0 AND h.payer = p_payer AND h.id IS DISTINCT FROM p_except
          -- With LIMIT each refund is looked up in the index, whatever the planner knows of the table.
          AND (SELECT r.id FROM public.credit_transactions r WHERE r.refund_of = h.id LIMIT 1) IS NULL
        ORDER BY h.held_until
        FOR KEY SHARE OF u SKIP LOCKED
    LOOP
        IF (public.try_settle_credits(v_hold, 0, p_end => 'expired')).verdict = 'done' THEN
            v_released := v_released + 1;
        END IF;
    END LOOP;
    -- The first that could not be given back, if any; else all up to then are done with.
    SELECT coalesce(min(h.held_until), v_until) INTO v_left
    FROM public.credit_transactions h
    WHERE coalesce(h.api_key_id, h.team_id, h.user_id) = p_account
      AND h.held_until >= v_first AND h.held_until <= v_until
      AND h.amount < 0 AND h.payer = p_payer
      AND (SELECT r.id FROM public.credit_transactions r WHERE r.refund_of = h.id LIMIT 1) IS NULL;
    UPDATE public.user_credits a SET holds_expire_from = v_left
    WHERE p_payer = 'user' AND a.user_id = p_account AND a.holds_expire_from < v_left;
    UPDATE public.teams a SET holds_expire_from = v_left
    WHERE p_payer = 'team' AND a.id = p_account AND a.holds_expire_from < v_left;
    UPDATE public.api_key_credits a SET holds_expire_from = v_left
    WHERE p_payer = 'api_key' AND a.api_key = p_account AND a.holds_expire_from < v_left;
    RETURN v_released;
END
$$;

REVOKE EXECUTE ON FUNCTION public.release_expired_credits FROM PUBLIC;
