-- Why the UPDATE of try_consume_credits found no account that has enough. Read-only.
CREATE OR REPLACE FUNCTION public.explain_credit_refusal(
    p_payer text, p_user_id text, p_amount integer, p_team_id text, p_api_key text,
    OUT verdict text, OUT balance integer
)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_today date := timezone('utc', now())::date;
    v_month date := date_trunc('month', v_today)::date;
    v_day_left bigint;
    v_month_left bigint;
BEGIN
    IF p_payer = 'user' THEN
        SELECT a.credits INTO balance FROM public.user_credits a WHERE a.user_id = p_user_id;
    ELSIF p_payer = 'team' THEN
        SELECT a.credits INTO balance FROM public.teams a
        WHERE a.id = p_team_id AND (a.owner_id = p_user_id OR EXISTS (
            SELECT FROM public.user_credits m WHERE m.user_id = p_user_id AND m.team_id = a.id));
    ELSE
        SELECT a.credits,
               a.daily_limit - CASE WHEN a.spent_on >= v_today THEN a.spent_that_day ELSE 0 END,
               a.monthly_limit - CASE WHEN a.spent_on >= v_month THEN a.spent_that_month ELSE 0 END
        INTO balance, v_day_left, v_month_left
        FROM public.api_key_credits a
        WHERE a.api_key = p_api_key AND a.user_id = p_user_id
          AND (p_team_id IS NULL OR a.team_id = p_team_id);
    END IF;
    verdict := CASE
        WHEN balance IS NULL THEN 'unknown_account'
        WHEN v_month_left < p_amount THEN 'monthly_limit'
        WHEN v_day_left < p_amount THEN 'daily_limit'
        ELSE 'insufficient' END;
    -- A limit that was lowered below what is spent leaves nothing.
    balance := CASE verdict
        WHEN 'monthly_limit' THEN greatest(v_month_left, 0)
        WHEN 'daily_limit' THEN greatest(v_day_left, 0)
        ELSE balance END;
END
$$;

REVOKE EXECUTE ON FUNCTION public.explain_credit_refusal FROM PUBLIC;
