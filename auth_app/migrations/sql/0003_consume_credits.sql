-- What a function returns can only be changed by making it anew; rights that were granted on it have
-- to be granted again.
DROP FUNCTION public.try_consume_credits;

-- Spend p_amount credits of the user, of the team, or of the API key's pool, and write the row.
-- Returns a verdict instead of raising, so that a refusal does not abort the caller's transaction:
-- done, replayed, insufficient, unknown_account, key_reused, daily_limit, monthly_limit. balance is
-- the account's after it, or the one that was too small (for a limit: what the limit leaves).
-- Beside these come only the columns that the caller does not know: a row within the row costs a
-- client that does not prepare the statement a sixth of the whole.
CREATE FUNCTION public.try_consume_credits(
    p_user_id text, p_amount integer, p_operation text, p_resource_id text DEFAULT NULL,
    p_team_id text DEFAULT NULL, p_api_key text DEFAULT NULL, p_metadata jsonb DEFAULT NULL,
    p_idempotency_key text DEFAULT NULL,
    OUT verdict text, OUT balance integer, OUT id text, OUT team_id text, OUT resource_id text,
    OUT metadata jsonb, OUT created_at timestamp
)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_payer text := CASE WHEN p_api_key IS NOT NULL THEN 'api_key'
                         WHEN p_team_id IS NOT NULL THEN 'team' ELSE 'user' END;
    v_entry public.credit_transactions;
    v_today date;
    v_month date;
BEGIN
    IF p_amount IS NULL OR p_amount < 1 OR p_user_id IS NULL THEN
        RAISE EXCEPTION 'credits are spent by a user and from 1 up, got % of %', p_amount, p_user_id
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF p_idempotency_key IS NOT NULL THEN
        SELECT * INTO v_entry FROM public.credit_transactions t
        WHERE t.user_id = p_user_id AND t.idempotency_key = p_idempotency_key;
        IF NOT FOUND THEN
            -- Whoever holds the account now may be writing this very key.
            PERFORM public.lock_credit_account(v_payer, p_user_id, p_team_id, p_api_key, true);
            SELECT * INTO v_entry FROM public.credit_transactions t
            WHERE t.user_id = p_user_id AND t.idempotency_key = p_idempotency_key;
        END IF;
        IF FOUND THEN
            verdict := public.credit_replay_verdict(
                v_entry, 'usage', -p_amount, p_operation, v_payer, p_team_id, p_api_key);
            balance := v_entry.balance_after;
            id := v_entry.id;
            team_id := v_entry.team_id;
            resource_id := v_entry.resource_id;
            metadata := v_entry.transaction_metadata;
            created_at := v_entry.created_at;
            RETURN;
        END IF;
    END IF;

    team_id := p_team_id;
    IF v_payer = 'user' THEN
        UPDATE public.user_credits a
        SET credits = a.credits - p_amount, updated_at = timezone('utc', now())
        WHERE a.user_id = p_user_id AND a.credits >= p_amount
        RETURNING a.credits INTO balance;
    ELSIF v_payer = 'team' THEN
        UPDATE public.teams a
        SET credits = a.credits - p_amount, updated_at = timezone('utc', now())
        WHERE a.id = p_team_id AND a.credits >= p_amount
          AND (a.owner_id = p_user_id OR EXISTS (
              SELECT FROM public.user_credits m
              WHERE m.user_id = p_user_id AND m.team_id = a.id))
        RETURNING a.credits INTO balance;
    ELSE
        -- A transaction that began before midnight must not set the counters' day back: a later
        -- day counts as today's.
        v_today := timezone('utc', now())::date;
        v_month := date_trunc('month', v_today)::date;
        UPDATE public.api_key_credits a
        SET credits = a.credits - p_amount,
            spent_that_day = p_amount
                + CASE WHEN a.spent_on >= v_today THEN a.spent_that_day ELSE 0 END,
            spent_that_month = p_amount
                + CASE WHEN a.spent_on >= v_month THEN a.spent_that_month ELSE 0 END,
            spent_on = greatest(a.spent_on, v_today),
            updated_at = timezone('utc', now())
        WHERE a.api_key = p_api_key AND a.user_id = p_user_id
          AND (p_team_id IS NULL OR a.team_id = p_team_id)
          AND a.credits >= p_amount
          AND (a.daily_limit IS NULL OR a.daily_limit >= p_amount
                + CASE WHEN a.spent_on >= v_today THEN a.spent_that_day ELSE 0 END)
          AND (a.monthly_limit IS NULL OR a.monthly_limit >= p_amount
                + CASE WHEN a.spent_on >= v_month THEN a.spent_that_month ELSE 0 END)
        RETURNING a.credits, a.team_id INTO balance, team_id;
    END IF;

    IF NOT FOUND THEN
        SELECT r.verdict, r.balance INTO verdict, balance
        FROM public.explain_credit_refusal(
            v_payer, p_user_id, p_amount, p_team_id, p_api_key) AS r;
        team_id := NULL;
        RETURN;
    END IF;

    INSERT INTO public.credit_transactions AS t
        (user_id, team_id, amount, type, operation, resource_id, api_key_id, transaction_metadata,
         payer, balance_after, idempotency_key)
    VALUES
        (p_user_id, team_id, -p_amount, 'usage', p_operation, p_resource_id, p_api_key,
         p_metadata, v_payer, balance, p_idempotency_key)
    RETURNING t.id, t.created_at INTO id, created_at;
    resource_id := p_resource_id;
    metadata := p_metadata;
    verdict := 'done';
END
$$;

-- The same for clients that want an error: the row with balance_after, or SQLSTATE LC001 to LC004.
CREATE OR REPLACE FUNCTION public.consume_credits(
    p_user_id text, p_amount integer, p_operation text, p_resource_id text DEFAULT NULL,
    p_team_id text DEFAULT NULL, p_api_key text DEFAULT NULL, p_metadata jsonb DEFAULT NULL,
    p_idempotency_key text DEFAULT NULL
) RETURNS public.credit_transactions
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_result record;
    v_entry public.credit_transactions;
BEGIN
    v_result := public.try_consume_credits(
        p_user_id, p_amount, p_operation, p_resource_id, p_team_id, p_api_key, p_metadata,
        p_idempotency_key);
    IF v_result.verdict NOT IN ('done', 'replayed') THEN
        PERFORM public.raise_credit_refusal(
            v_result.verdict, v_result.balance, p_amount,
            CASE WHEN p_api_key IS NOT NULL THEN 'the API key' WHEN p_team_id IS NOT NULL
                 THEN format('team %L', p_team_id) ELSE format('user %L', p_user_id) END);
    END IF;
    SELECT * INTO v_entry FROM public.credit_transactions t WHERE t.id = v_result.id;
    RETURN v_entry;
END
$$;
