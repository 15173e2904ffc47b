-- Give p_amount credits, bought ('purchase') or not ('bonus'), to the user, the team or the key.
-- With p_balance_limit it is a renewal: what would lift the balance above the limit lapses again as
-- a 'rollover' usage, written first, so that no balance ever stands above it. Credits that were
-- there before are never taken, and both rows are written even if all of it lapses: the key is used.
-- Verdicts: done, replayed, unknown_account, key_reused, overflow.
CREATE FUNCTION public.try_grant_credits(
    p_user_id text, p_amount integer, p_type text, p_operation text,
    p_resource_id text DEFAULT NULL, p_team_id text DEFAULT NULL, p_api_key text DEFAULT NULL,
    p_metadata jsonb DEFAULT NULL, p_idempotency_key text DEFAULT NULL,
    p_balance_limit integer DEFAULT NULL,
    OUT verdict text, OUT balance integer, OUT entry public.credit_transactions
)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_payer text := CASE WHEN p_api_key IS NOT NULL THEN 'api_key'
                         WHEN p_team_id IS NOT NULL THEN 'team' ELSE 'user' END;
    v_team_id text := p_team_id;
    v_purchased integer := CASE WHEN p_type = 'purchase' THEN p_amount ELSE 0 END;
    v_lapse integer := 0;
BEGIN
    IF p_amount IS NULL OR p_amount < 1 OR p_user_id IS NULL THEN
        RAISE EXCEPTION 'credits are given to a user and from 1 up, got % for %', p_amount, p_user_id
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF p_type IS NULL OR p_type NOT IN ('purchase', 'bonus') THEN
        RAISE EXCEPTION 'credits are granted as purchase or bonus, not as %', p_type
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF p_balance_limit < p_amount THEN
        RAISE EXCEPTION 'a limit of % is below the % credits to be granted', p_balance_limit, p_amount
            USING ERRCODE = 'invalid_parameter_value';
    END IF;

    balance := public.lock_credit_account(v_payer, p_user_id, p_team_id, p_api_key, true);
    IF p_idempotency_key IS NOT NULL THEN
        SELECT * INTO entry FROM public.credit_transactions t
        WHERE t.user_id = p_user_id AND t.idempotency_key = p_idempotency_key;
        IF FOUND THEN
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
        v_lapse := least(p_amount, greatest(0, balance::bigint + p_amount - p_balance_limit));
    END IF;
    IF balance::bigint + p_amount - v_lapse > 2147483647
       OR v_payer = 'user' AND EXISTS (
           SELECT FROM public.user_credits a WHERE a.user_id = p_user_id
           AND a.total_credits_purchased::bigint + v_purchased > 2147483647) THEN
        verdict := 'overflow';
        RETURN;
    END IF;
    IF v_payer = 'api_key' THEN
        SELECT a.team_id INTO v_team_id FROM public.api_key_credits a WHERE a.api_key = p_api_key;
    END IF;

    IF v_lapse > 0 THEN
        INSERT INTO public.credit_transactions
            (user_id, team_id, amount, type, operation, api_key_id, payer, balance_after)
        VALUES
            (p_user_id, v_team_id, -v_lapse, 'usage', 'rollover', p_api_key, v_payer,
             balance - v_lapse);
    END IF;
    balance := public.add_to_credit_account(
        v_payer, p_user_id, p_team_id, p_api_key, p_amount - v_lapse, v_purchased);
    INSERT INTO public.credit_transactions
        (user_id, team_id, amount, type, operation, resource_id, api_key_id, transaction_metadata,
         payer, balance_after, idempotency_key)
    VALUES
        (p_user_id, v_team_id, p_amount, p_type, p_operation, p_resource_id, p_api_key, p_metadata,
         v_payer, balance, p_idempotency_key)
    RETURNING * INTO entry;
    verdict := 'done';
END
$$;

-- The same for clients that want an error: SQLSTATE LC002, LC003 or 22003.
CREATE FUNCTION public.grant_credits(
    p_user_id text, p_amount integer, p_type text, p_operation text,
    p_resource_id text DEFAULT NULL, p_team_id text DEFAULT NULL, p_api_key text DEFAULT NULL,
    p_metadata jsonb DEFAULT NULL, p_idempotency_key text DEFAULT NULL,
    p_balance_limit integer DEFAULT NULL
) RETURNS public.credit_transactions
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_result record;
BEGIN
    v_result := public.try_grant_credits(
        p_user_id, p_amount, p_type, p_operation, p_resource_id, p_team_id, p_api_key, p_metadata,
        p_idempotency_key, p_balance_limit);
    IF v_result.verdict NOT IN ('done', 'replayed') THEN
        PERFORM public.raise_credit_refusal(
            v_result.verdict, v_result.balance, p_amount,
            CASE WHEN p_api_key IS NOT NULL THEN 'the API key' WHEN p_team_id IS NOT NULL
                 THEN format('team %L', p_team_id) ELSE format('user %L', p_user_id) END);
    END IF;
    RETURN v_result.entry;
END
$$;
