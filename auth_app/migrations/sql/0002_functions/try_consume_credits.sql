-- Spend p_amount credits of the user, of the team, or of the API key's pool, and write the row.
-- Returns a verdict instead of raising, so that a refusal does not abort the caller's transaction:
-- done, replayed, insufficient, unknown_account, key_reused, daily_limit, monthly_limit. balance is
-- the account's after it, or the one that was too small (for a limit: what the limit leaves).
-- With p_held_until, which only try_hold_credits gives, the row is a hold.
-- Beside these come only the columns that the caller does not know: a row within the row costs a
-- client that does not prepare the statement a sixth of the whole.
CREATE OR REPLACE FUNCTION public.try_consume_credits(
    p_user_id text, p_amount integer, p_operation text, p_resource_id text DEFAULT NULL,
    p_team_id text DEFAULT NULL, p_api_key text DEFAULT NULL, p_metadata jsonb DEFAULT NULL,
    p_idempotency_key text DEFAULT NULL, p_held_until timestamp DEFAULT NULL,
    OUT verdict text, OUT balance integer, OUT id text, OUT team_id text, OUT resource_id text,
    OUT metadata jsonb, OUT created_at timestamp
)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_payer text := CASE WHEN p_api_key IS NOT NULL THEN 'api_key'
                         WHEN p_team_id IS NOT NULL THEN 'team' ELSE 'user' END;
    v_entry public.credit_transactions;
    v_today date;
    v_month date;
BEGIN
    -- The same as in credit_input_problem, which is only called to say what is wrong: a call costs more
    -- than all of this.
    IF (p_amount >= 1 AND p_user_id > '' AND p_operation > ''
        AND (p_idempotency_key IS NULL OR length(p_idempotency_key) BETWEEN 1 AND 255)
        AND (p_metadata IS NULL OR pg_column_size(p_metadata) <= 2700)) IS NOT TRUE THEN
        PERFORM public.check_credit_input(
            p_user_id, p_amount, p_operation, p_idempotency_key, p_metadata);
    END IF;
    IF p_idempotency_key IS NOT NULL THEN
        SELECT * INTO v_entry FROM public.credit_transactions t
        WHERE t.user_id = p_user_id AND t.idempotency_key = p_idempotency_key;
        IF NOT FOUND THEN
            -- Whoever holds the user now may be writing this very key, for any payer.
            PERFORM FROM public.users u WHERE u.id = p_user_id FOR NO KEY UPDATE;
            IF NOT FOUND THEN
                -- Whoever signs up after this, under this id, is not locked.
                verdict := 'unknown_account';
                RETURN;
            END IF;
            SELECT * INTO v_entry FROM public.credit_transactions t
            WHERE t.user_id = p_user_id AND t.idempotency_key = p_idempotency_key;
        END IF;
        IF FOUND THEN
            verdict := public.credit_replay_verdict(
                v_entry, CASE WHEN p_held_until IS NULL THEN 'usage' ELSE 'hold' END, -p_amount,
                p_operation, v_payer, p_team_id, p_api_key);
            balance := v_entry.balance_after;
            id := v_entry.id;
            team_id := v_entry.team_id;
            resource_id := v_entry.resource_id;
            metadata := v_entry.transaction_metadata;
            created_at := v_entry.created_at;
            RETURN;
        END IF;
    END IF;

    -- Whoever is deleted locks the user before the accounts, so a spender does too, in the same
    -- statement: the sub-select runs before the UPDATE has found a row to lock.
    team_id := p_team_id;
    IF v_payer = 'user' AND p_idempotency_key IS NULL THEN
        -- The usual case, in one statement instead of two.
        WITH account AS (
            UPDATE public.user_credits a
            SET credits = a.credits - p_amount, updated_at = timezone('utc', now()),
                holds_expire_from = least(a.holds_expire_from, p_held_until)
            WHERE a.user_id = (SELECT u.id FROM public.users u WHERE u.id = p_user_id FOR KEY SHARE)
              AND a.credits >= p_amount
            RETURNING a.credits
        )
        INSERT INTO public.credit_transactions AS t
            (user_id, amount, type, operation, resource_id, transaction_metadata, balance_after,
             held_until)
        SELECT p_user_id, -p_amount, 'usage', p_operation, p_resource_id, p_metadata, a.credits,
               p_held_until
        FROM account a
        RETURNING t.balance_after, t.id, t.created_at INTO balance, id, created_at;
    ELSIF v_payer = 'user' THEN
        UPDATE public.user_credits a
        SET credits = a.credits - p_amount, updated_at = timezone('utc', now()),
            holds_expire_from = least(a.holds_expire_from, p_held_until)
        WHERE a.user_id = p_user_id AND a.credits >= p_amount
        RETURNING a.credits INTO balance;
    ELSIF v_payer = 'team' THEN
        UPDATE public.teams a
        SET credits = a.credits - p_amount, updated_at = timezone('utc', now()),
            holds_expire_from = least(a.holds_expire_from, p_held_until)
        WHERE a.id = p_team_id AND a.credits >= p_amount
          AND (SELECT u.id FROM public.users u WHERE u.id = p_user_id FOR KEY SHARE) IS NOT NULL
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
            holds_expire_from = least(a.holds_expire_from, p_held_until),
            updated_at = timezone('utc', now())
        WHERE a.api_key = p_api_key
          AND a.user_id = (SELECT u.id FROM public.users u WHERE u.id = p_user_id FOR KEY SHARE)
          AND (p_team_id IS NULL OR a.team_id = p_team_id)
          AND (a.team_id IS NULL OR EXISTS (
              SELECT FROM public.teams t WHERE t.id = a.team_id FOR KEY SHARE))
          AND a.credits >= p_amount
          AND (a.daily_limit IS NULL OR a.daily_limit >= p_amount
                + CASE WHEN a.spent_on >= v_today THEN a.spent_that_day ELSE 0 END)
          AND (a.monthly_limit IS NULL OR a.monthly_limit >= p_amount
                + CASE WHEN a.spent_on >= v_month THEN a.spent_that_month ELSE 0 END)
        RETURNING a.credits, a.team_id INTO balance, team_id;
    END IF;

    IF NOT FOUND THEN
        -- The user is locked already or not, as the server has planned the UPDATE, and the account is not.
        team_id := NULL;
        PERFORM FROM public.users u WHERE u.id = p_user_id FOR KEY SHARE;
        IF NOT FOUND THEN
            verdict := 'unknown_account';
            RETURN;
        END IF;
        SELECT r.verdict, r.balance INTO verdict, balance
        FROM public.explain_credit_refusal(
            v_payer, p_user_id, p_amount, p_team_id, p_api_key) AS r;
        -- Once more with what expired holds have given back, if any have.
        IF verdict <> 'unknown_account' AND public.release_expired_credits(
               v_payer, coalesce(p_api_key, p_team_id, p_user_id)) > 0 THEN
            SELECT r.* INTO verdict, balance, id, team_id, resource_id, metadata, created_at
            FROM public.try_consume_credits(
                p_user_id, p_amount, p_operation, p_resource_id, p_team_id, p_api_key, p_metadata,
                p_idempotency_key, p_held_until) AS r;
        END IF;
        RETURN;
    END IF;

    IF id IS NULL THEN
        INSERT INTO public.credit_transactions AS t
            (user_id, team_id, amount, type, operation, resource_id, api_key_id,
             transaction_metadata, payer, balance_after, idempotency_key, held_until)
        VALUES
            (p_user_id, team_id, -p_amount, 'usage', p_operation, p_resource_id, p_api_key,
             p_metadata, v_payer, balance, p_idempotency_key, p_held_until)
        ON CONFLICT DO NOTHING
        RETURNING t.id, t.created_at INTO id, created_at;
        IF NOT FOUND THEN
            PERFORM public.raise_key_conflict();
        END IF;
    END IF;
    resource_id := p_resource_id;
    metadata := p_metadata;
    verdict := 'done';
END
$$;

REVOKE EXECUTE ON FUNCTION public.try_consume_credits FROM PUBLIC;
