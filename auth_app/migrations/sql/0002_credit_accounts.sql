-- What consume, grant and refund share. All of it runs with the caller's own rights: a client that
-- may not write the tables cannot mint credits by calling a function.

-- Locks the account that pays and returns its balance; NULL where there is none that the user may
-- use. With must_belong the user has to own the team or be its member. A reader of a snapshot older
-- than the account's last change gets 40001 here, before it can act on what it did not see.
CREATE FUNCTION public.lock_credit_account(
    p_payer text, p_user_id text, p_team_id text, p_api_key text, p_must_belong boolean
) RETURNS integer
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_balance integer;
BEGIN
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
        SELECT a.credits INTO v_balance FROM public.api_key_credits a
        WHERE a.api_key = p_api_key AND a.user_id = p_user_id
          AND (p_team_id IS NULL OR a.team_id = p_team_id)
        FOR NO KEY UPDATE;
    END IF;
    RETURN v_balance;
END
$$;

-- Adds to an account that the caller has locked and returns the new balance.
CREATE FUNCTION public.add_to_credit_account(
    p_payer text, p_user_id text, p_team_id text, p_api_key text, p_amount integer,
    p_purchased integer DEFAULT 0
) RETURNS integer
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_balance integer;
BEGIN
    IF p_payer = 'user' THEN
        UPDATE public.user_credits a
        SET credits = a.credits + p_amount,
            total_credits_purchased = a.total_credits_purchased + p_purchased,
            updated_at = timezone('utc', now())
        WHERE a.user_id = p_user_id RETURNING a.credits INTO v_balance;
    ELSIF p_payer = 'team' THEN
        UPDATE public.teams a
        SET credits = a.credits + p_amount, updated_at = timezone('utc', now())
        WHERE a.id = p_team_id RETURNING a.credits INTO v_balance;
    ELSE
        UPDATE public.api_key_credits a
        SET credits = a.credits + p_amount, updated_at = timezone('utc', now())
        WHERE a.api_key = p_api_key RETURNING a.credits INTO v_balance;
    END IF;
    RETURN v_balance;
END
$$;

-- 'replayed' where the row with a used key is what is asked for again, 'key_reused' where it is not.
-- A team that is gone has left its rows without a team.
CREATE FUNCTION public.credit_replay_verdict(
    p_entry public.credit_transactions, p_type text, p_amount integer, p_operation text,
    p_payer text, p_team_id text, p_api_key text
) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE
        WHEN p_entry.type = p_type AND p_entry.amount = p_amount
         AND p_entry.operation IS NOT DISTINCT FROM p_operation
         AND p_entry.payer = p_payer
         AND (p_payer <> 'team' OR p_entry.team_id IS NULL OR p_entry.team_id = p_team_id)
         AND (p_payer <> 'api_key' OR p_entry.api_key_id = p_api_key)
        THEN 'replayed' ELSE 'key_reused' END
$$;

-- The error of a refusal, for clients that call the functions which raise. DETAIL is JSON.
CREATE FUNCTION public.raise_credit_refusal(
    p_verdict text, p_balance integer, p_amount integer, p_subject text
) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION USING
        ERRCODE = CASE p_verdict
            WHEN 'insufficient' THEN 'LC001'
            WHEN 'unknown_account' THEN 'LC002'
            WHEN 'key_reused' THEN 'LC003'
            WHEN 'daily_limit' THEN 'LC004'
            WHEN 'monthly_limit' THEN 'LC004'
            WHEN 'nothing_to_refund' THEN 'LC005'
            ELSE '22003' END,
        MESSAGE = CASE p_verdict
            WHEN 'insufficient' THEN format(
                '%s has %s credits, and %s were asked for', p_subject, p_balance, p_amount)
            WHEN 'unknown_account' THEN format('there is no credit account of %s', p_subject)
            WHEN 'key_reused' THEN format(
                'the idempotency key was used by %s for another transaction', p_subject)
            WHEN 'daily_limit' THEN format(
                'the daily limit leaves %s credits, and %s were asked for', p_balance, p_amount)
            WHEN 'monthly_limit' THEN format(
                'the monthly limit leaves %s credits, and %s were asked for', p_balance, p_amount)
            WHEN 'nothing_to_refund' THEN format(
                'of %s %s credits are left to refund', p_subject, p_balance)
            ELSE format('%s credits more do not fit into the account of %s', p_amount, p_subject)
            END,
        DETAIL = json_build_object(
            'verdict', p_verdict, 'balance', p_balance, 'amount', p_amount, 'subject', p_subject
        )::text;
END
$$;
