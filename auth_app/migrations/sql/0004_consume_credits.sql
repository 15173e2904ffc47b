-- Spend p_amount credits of the user, of the team, or of the API key's pool, and write the row.
-- Returns a verdict instead of raising, so that a refusal does not abort the caller's transaction:
-- done, replayed, insufficient, unknown_account, key_reused, daily_limit, monthly_limit. balance is
-- the account's after it, or the one that was too small (for a limit: what the limit leaves).
-- Then comes what the caller does not know of the row, as JSON where the row has metadata or was
-- there before:
--     done 95 0199c0de-... 2026-11-22T12:00:00.123456 the paying team, if any
--     replayed {"balance": 95, "id": ..., "team_id": ..., "created_at": ..., "resource_id": ...,
--               "metadata": ...}
--     insufficient 3
--     unknown_account
-- One value, because columns of a function come from a scan of it, a twelfth of the whole; mostly a
-- text that is split at its spaces, because parsing JSON costs the client as much again.
CREATE FUNCTION public.try_consume_credits_text(
    p_user_id text, p_amount integer, p_operation text, p_resource_id text DEFAULT NULL,
    p_team_id text DEFAULT NULL, p_api_key text DEFAULT NULL, p_metadata jsonb DEFAULT NULL,
    p_idempotency_key text DEFAULT NULL
) RETURNS text
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_payer text := CASE WHEN p_api_key IS NOT NULL THEN 'api_key'
                         WHEN p_team_id IS NOT NULL THEN 'team' ELSE 'user' END;
    v_team_id text := p_team_id;
    v_verdict text;
    v_balance integer;
    v_id text;
    v_created_at timestamp;
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
            v_verdict := public.credit_replay_verdict(
                v_entry, 'usage', -p_amount, p_operation, v_payer, p_team_id, p_api_key);
            RETURN v_verdict || ' ' || json_build_object(
                'balance', v_entry.balance_after, 'id', v_entry.id, 'team_id', v_entry.team_id,
                'created_at', v_entry.created_at, 'resource_id', v_entry.resource_id,
                'metadata', v_entry.transaction_metadata);
        END IF;
    END IF;

    IF v_payer = 'user' THEN
        UPDATE public.user_credits a
        SET credits = a.credits - p_amount, updated_at = timezone('utc', now())
        WHERE a.user_id = p_user_id AND a.credits >= p_amount
        RETURNING a.credits INTO v_balance;
    ELSIF v_payer = 'team' THEN
        UPDATE public.teams a
        SET credits = a.credits - p_amount, updated_at = timezone('utc', now())
        WHERE a.id = p_team_id AND a.credits >= p_amount
          AND (a.owner_id = p_user_id OR EXISTS (
              SELECT FROM public.user_credits m
              WHERE m.user_id = p_user_id AND m.team_id = a.id))
        RETURNING a.credits INTO v_balance;
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
        RETURNING a.credits, a.team_id INTO v_balance, v_team_id;
    END IF;

    IF NOT FOUND THEN
        SELECT r.verdict, r.balance INTO v_verdict, v_balance
        FROM public.explain_credit_refusal(
            v_payer, p_user_id, p_amount, p_team_id, p_api_key) AS r;
        RETURN concat_ws(' ', v_verdict, v_balance);
    END IF;

    INSERT INTO public.credit_transactions AS t
        (user_id, team_id, amount, type, operation, resource_id, api_key_id, transaction_metadata,
         payer, balance_after, idempotency_key)
    VALUES
        (p_user_id, v_team_id, -p_amount, 'usage', p_operation, p_resource_id, p_api_key,
         p_metadata, v_payer, v_balance, p_idempotency_key)
    RETURNING t.id, t.created_at INTO v_id, v_created_at;
    IF p_metadata IS NOT NULL THEN
        RETURN 'done ' || json_build_object(
            'balance', v_balance, 'id', v_id, 'team_id', v_team_id, 'created_at', v_created_at,
            'resource_id', p_resource_id, 'metadata', p_metadata);
    END IF;
    RETURN 'done ' || v_balance || ' ' || v_id || ' '
        || to_char(v_created_at, 'YYYY-MM-DD"T"HH24:MI:SS.US') || coalesce(' ' || v_team_id, '');
END
$$;

-- The same in columns, as programs of the version before call it: they go on while a deploy lasts.
CREATE OR REPLACE FUNCTION public.try_consume_credits(
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
    v_answer text := public.try_consume_credits_text(
        p_user_id, p_amount, p_operation, p_resource_id, p_team_id, p_api_key, p_metadata,
        p_idempotency_key);
    v_rest text := substr(v_answer, strpos(v_answer || ' ', ' ') + 1);
    v_id text;
BEGIN
    verdict := split_part(v_answer, ' ', 1);
    IF starts_with(v_rest, '{') THEN
        v_id := v_rest::json ->> 'id';
    ELSIF verdict = 'done' THEN
        v_id := split_part(v_rest, ' ', 2);
    END IF;
    IF v_id IS NULL THEN
        balance := nullif(v_rest, '');
    ELSE
        SELECT t.balance_after, t.id, t.team_id, t.resource_id, t.transaction_metadata, t.created_at
        INTO balance, id, team_id, resource_id, metadata, created_at
        FROM public.credit_transactions t WHERE t.id = v_id;
    END IF;
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
    v_answer text := public.try_consume_credits_text(
        p_user_id, p_amount, p_operation, p_resource_id, p_team_id, p_api_key, p_metadata,
        p_idempotency_key);
    v_verdict text := split_part(v_answer, ' ', 1);
    v_rest text := substr(v_answer, strpos(v_answer || ' ', ' ') + 1);
    v_entry public.credit_transactions;
BEGIN
    IF v_verdict NOT IN ('done', 'replayed') THEN
        PERFORM public.raise_credit_refusal(
            v_verdict,
            CASE WHEN starts_with(v_rest, '{') THEN v_rest::json ->> 'balance'
                 ELSE nullif(v_rest, '') END::integer,
            p_amount,
            CASE WHEN p_api_key IS NOT NULL THEN 'the API key' WHEN p_team_id IS NOT NULL
                 THEN format('team %L', p_team_id) ELSE format('user %L', p_user_id) END);
    END IF;
    SELECT * INTO v_entry FROM public.credit_transactions t
    WHERE t.id = CASE WHEN starts_with(v_rest, '{') THEN v_rest::json ->> 'id'
                 ELSE split_part(v_rest, ' ', 2) END;
    RETURN v_entry;
END
$$;

-- Whoever may call the old function may call the new one, which it calls with the caller's rights.
DO $$
DECLARE
    -- NULL where nobody has changed them.
    v_rights aclitem[] := (
        SELECT p.proacl FROM pg_catalog.pg_proc p
        WHERE p.oid = 'public.try_consume_credits(text, integer, text, text, text, text, jsonb, text)'
                      ::pg_catalog.regprocedure);
    v_right record;
BEGIN
    IF v_rights IS NOT NULL THEN
        REVOKE ALL ON FUNCTION public.try_consume_credits_text FROM PUBLIC;
    END IF;
    FOR v_right IN SELECT a.grantee, a.is_grantable FROM pg_catalog.aclexplode(v_rights) a LOOP
        EXECUTE pg_catalog.format(
            'GRANT EXECUTE ON FUNCTION public.try_consume_credits_text TO %s%s',
            CASE v_right.grantee WHEN 0 THEN 'PUBLIC'
                 ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(v_right.grantee)) END,
            CASE WHEN v_right.is_grantable THEN ' WITH GRANT OPTION' END);
    END LOOP;
END
$$;
