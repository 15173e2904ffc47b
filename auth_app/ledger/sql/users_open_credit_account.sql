-- Gives every new user a credit account, whichever program has signed the user up. A session that loads
-- users together with their accounts says so with SET fltr.loading = 'on'; all that anybody gains by it is
-- that the users it inserts get no bonus.
CREATE OR REPLACE FUNCTION public.users_open_credit_account() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- On a relation of somebody else, the casts of its columns' types would run in here.
    IF TG_RELID <> 'public.users'::regclass THEN
        RAISE EXCEPTION 'users_open_credit_account() is for its own table only'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF current_setting('fltr.loading', true) = 'on' THEN
        RETURN NULL;
    END IF;
    -- What open_credit_account does for nearly everybody, in one statement, because every sign-up waits
    -- for it: with nothing yet in the ledger, and a bonus.
    WITH account AS (
        INSERT INTO public.user_credits AS a (user_id, credits)
        SELECT NEW.id, public.signup_bonus_credits()
        WHERE public.signup_bonus_credits() > 0
          AND NOT EXISTS (SELECT FROM public.credit_transactions t WHERE t.user_id = NEW.id)
        ON CONFLICT (user_id) DO NOTHING
        RETURNING a.credits
    )
    INSERT INTO public.credit_transactions
        (user_id, amount, type, operation, balance_after, idempotency_key)
    SELECT NEW.id, a.credits, 'bonus', 'signup', a.credits, 'signup' FROM account a;
    IF NOT FOUND THEN
        PERFORM public.open_credit_account(NEW.id);
    END IF;
    RETURN NULL;
END
$$;

REVOKE EXECUTE ON FUNCTION public.users_open_credit_account FROM PUBLIC;

CREATE OR REPLACE TRIGGER users_open_credit_account AFTER INSERT ON public.users
FOR EACH ROW EXECUTE FUNCTION public.users_open_credit_account();
