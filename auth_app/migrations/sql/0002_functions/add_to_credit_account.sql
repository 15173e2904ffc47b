-- Adds to an account that the caller has locked and returns the new balance. What another program has
-- not counted as purchased does not keep a purchase from being taken back.
CREATE OR REPLACE FUNCTION public.add_to_credit_account(
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
            total_credits_purchased = greatest(0, a.total_credits_purchased + p_purchased),
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

REVOKE EXECUTE ON FUNCTION public.add_to_credit_account FROM PUBLIC;
