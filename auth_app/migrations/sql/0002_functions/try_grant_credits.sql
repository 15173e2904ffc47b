-- Give p_amount credits, bought ('purchase') or not ('bonus'), to the user, the team or the key.
-- With p_balance_limit it is a renewal: what would lift the balance above the limit expires at once, as
-- a 'rollover' usage, written first, so that no balance ever stands above it. Credits that were
-- there before are never taken, and both rows are written even if all of it expires: the key is used.
-- With p_collect what the account owes of reversed purchases is taken from it at once, in rows of its own.
-- Verdicts: done, replayed, unknown_account, key_reused, overflow.
CREATE OR REPLACE FUNCTION public.try_grant_credits(
    p_user_id text, p_amount integer, p_type text, p_operation text,
    p_resource_id text DEFAULT NULL, p_team_id text DEFAULT NULL, p_api_key text DEFAULT NULL,
    p_metadata jsonb DEFAULT NULL, p_idempotency_key text DEFAULT NULL,
    p_balance_limit integer DEFAULT NULL, p_collect boolean DEFAULT false,
    OUT verdict text, OUT balance integer, OUT entry public.credit_transactions
)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_payer text := CASE WHEN p_api_key IS NOT NULL THEN 'api_key'
                         WHEN p_team_id IS NOT NULL THEN 'team' ELSE 'user' END;
    v_team_id text := p_team_id;
    v_purchased integer := CASE WHEN p_type = 'purchase' THEN p_amount ELSE 0 END;
    v_expired integer := 0;
BEGIN
    PERFORM public.check_credit_input(
        p_user_id, p_amount, p_operation, p_idempotency_key, p_metadata);
    IF p_type IS NULL OR p_type NOT IN ('purchase', 'bonus') THEN
        RAISE EXCEPTION 'credits are granted as purchase or bonus, not as %', p_type
            USING ERRCODE = 'LC007';
    END IF;
    IF p_balance_limit < p_amount THEN
        RAISE EXCEPTION 'a limit of % is below the % credits to be granted', p_balance_limit, p_amount
            USING ERRCODE = 'LC007';
    END IF;

    balance := public.lock_credit_account(v_payer, p_user_id, p_team_id, p_api_key, true);
    IF p_idempotency_key IS NOT NULL THEN
        -- Of the user, and of the pool: a payment for a team is the same whoever owns it by then.
        SELECT * INTO entry FROM public.credit_transactions t
        WHERE t.user_id = p_user_id AND t.idempotency_key = p_idempotency_key;
        IF NOT FOUND AND v_payer = 'team' THEN
            SELECT * INTO entry FROM public.credit_transactions t
            WHERE t.team_id = p_team_id AND t.idempotency_key = p_idempotency_key
              AND t.payer = 'team' AND t.type IN ('purchase', 'bonus');
        ELSIF NOT FOUND AND v_payer = 'api_key' THEN
            SELECT * INTO entry FROM public.credit_transactions t
            WHERE t.api_key_id = p_api_key AND t.idempotency_key = p_idempotency_key
              AND t.payer = 'api_key' AND t.type IN ('purchase', 'bonus');
        END IF;
        IF entry.id IS NOT NULL THEN
            verdict := public.credit_replay_verdict(
                entry, p_type, p_amount, p_operation, v_payer, p_team_id, p_api_key);
            balance := entry.balance_after;
            RETURN;
        END IF;
    END IF;
    IF balance IS NULL THEN
        verdict := 'unknown_account';
        RETURN;
    END IF;
    IF p_balance_limit IS NOT NULL THEN
        v_expired := least(p_amount, greatest(0, balance::bigint + p_amount - p_balance_limit));
    END IF;
    IF balance::bigint + p_amount - v_expired > 2147483647
       OR v_payer = 'user' AND EXISTS (
           SELECT FROM public.user_credits a WHERE a.user_id = p_user_id
           AND a.total_credits_purchased::bigint + v_purchased > 2147483647) THEN
        verdict := 'overflow';
        RETURN;
    END IF;
    IF v_payer = 'api_key' THEN
        SELECT a.team_id INTO v_team_id FROM public.api_key_credits a WHERE a.api_key = p_api_key;
    END IF;

    IF v_expired > 0 THEN
        INSERT INTO public.credit_transactions
            (user_id, team_id, amount, type, operation, api_key_id, payer, balance_after)
        VALUES
            (p_user_id, v_team_id, -v_expired, 'usage', 'rollover', p_api_key, v_payer,
             balance - v_expired);
    END IF;
    balance := public.add_to_credit_account(
        v_payer, p_user_id, p_team_id, p_api_key, p_amount - v_expired, v_purchased);
    INSERT INTO public.credit_transactions
        (user_id, team_id, amount, type, operation, resource_id, api_key_id, transaction_metadata,
         payer, balance_after, idempotency_key)
    VALUES
        (p_user_id, v_team_id, p_amount, p_type, p_operation, p_resource_id, p_api_key, p_metadata,
         v_payer, balance, p_idempotency_key)
    ON CONFLICT DO NOTHING
    RETURNING * INTO entry;
    IF NOT FOUND THEN
        PERFORM public.raise_key_conflict();
    END IF;
    IF p_collect THEN
        balance := coalesce(public.collect_credit_shortfall(entry.id), balance);
    END IF;
    verdict := 'done';
END
$$;

REVOKE EXECUTE ON FUNCTION public.try_grant_credits FROM PUBLIC;
