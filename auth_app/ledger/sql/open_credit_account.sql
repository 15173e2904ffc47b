-- Opens the credit account of a new user, with the sign-up bonus in it and in the ledger. Does nothing
-- where there is one already. A user with a ledger, whose account was deleted, gets no second bonus: the
-- account opens with what the ledger says.
CREATE OR REPLACE FUNCTION public.open_credit_account(new_user_id text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    -- Whatever stands in there, it must not stop a sign-up.
    v_bonus integer := greatest(0, public.signup_bonus_credits());
    v_credits bigint;
    v_purchased bigint;
BEGIN
    SELECT sum(t.amount) FILTER (WHERE t.payer = 'user'),
           sum(t.amount) FILTER (
               WHERE t.payer = 'user'
                 AND (t.type = 'purchase' OR t.operation IN ('reversal', 'reinstatement')
                      AND t.reversal_of IS NOT NULL))
    INTO v_credits, v_purchased
    FROM public.credit_transactions t
    WHERE t.user_id = new_user_id AND (t.payer = 'user' OR t.idempotency_key = 'signup')
    HAVING count(*) > 0;
    IF FOUND THEN
        INSERT INTO public.user_credits (user_id, credits, total_credits_purchased)
        VALUES (new_user_id, least(greatest(coalesce(v_credits, 0), 0), 2147483647),
                least(greatest(coalesce(v_purchased, 0), 0), 2147483647))
        ON CONFLICT (user_id) DO NOTHING;
        RETURN;
    END IF;
    INSERT INTO public.user_credits (user_id, credits) VALUES (new_user_id, v_bonus)
    ON CONFLICT (user_id) DO NOTHING;
    IF FOUND AND v_bonus > 0 THEN
        INSERT INTO public.credit_transactions
            (user_id, amount, type, operation, balance_after, idempotency_key)
        VALUES (new_user_id, v_bonus, 'bonus', 'signup', v_bonus, 'signup');
    END IF;
END
$$;

REVOKE EXECUTE ON FUNCTION public.open_credit_account FROM PUBLIC;
