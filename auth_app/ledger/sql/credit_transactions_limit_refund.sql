-- What is given back of a usage is never more than was taken, whoever writes the row.
-- refunded_before is the sum of the earlier refunds. With its unique index two refunds that did not
-- see each other (REPEATABLE READ takes the row lock, and still reads its old snapshot) collide.
CREATE OR REPLACE FUNCTION public.credit_transactions_limit_refund() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    used public.credit_transactions;
BEGIN
    -- On a relation of somebody else, the casts of its columns' types would run in here.
    IF TG_RELID <> 'public.credit_transactions'::regclass THEN
        RAISE EXCEPTION 'credit_transactions_limit_refund() is for its own table only'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF NEW.held_until IS NOT NULL THEN
        -- The end of a hold is all of it, so the unique index alone lets only one be, without a lock.
        NEW.refunded_before := 0;
        IF EXISTS (
            SELECT FROM public.credit_transactions t
            WHERE t.id = NEW.refund_of AND t.amount = -NEW.amount AND t.held_until = NEW.held_until
              AND t.user_id = NEW.user_id AND t.payer = NEW.payer) THEN
            RETURN NEW;
        END IF;
    END IF;
    -- A deletion locks the user and the team before their rows, so this does too.
    PERFORM FROM public.users u WHERE u.id = NEW.user_id FOR KEY SHARE;
    PERFORM FROM public.teams t WHERE t.id = NEW.team_id FOR KEY SHARE;
    SELECT * INTO used FROM public.credit_transactions t
    WHERE t.id = NEW.refund_of AND t.amount < 0 AND t.user_id = NEW.user_id
      AND t.payer = NEW.payer AND t.reversal_of IS NULL
      AND coalesce(t.operation, '') NOT IN ('rollover', 'reconcile', 'departure')
    FOR NO KEY UPDATE;
    IF FOUND THEN
        SELECT coalesce(sum(t.amount), 0) INTO NEW.refunded_before
        FROM public.credit_transactions t WHERE t.refund_of = NEW.refund_of;
        IF used.held_until IS NULL AND NEW.held_until IS NULL
           AND NEW.refunded_before + NEW.amount <= -used.amount THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'nothing to refund: % credits of %', NEW.amount, NEW.refund_of
        USING ERRCODE = 'LC005',
              DETAIL = json_build_object(
                  'transaction_id', NEW.refund_of, 'amount', NEW.amount,
                  'left', coalesce(-used.amount - NEW.refunded_before, 0))::text;
END
$$;

REVOKE EXECUTE ON FUNCTION public.credit_transactions_limit_refund FROM PUBLIC;

CREATE OR REPLACE TRIGGER credit_transactions_limit_refund
BEFORE INSERT ON public.credit_transactions
FOR EACH ROW WHEN (NEW.refund_of IS NOT NULL)
EXECUTE FUNCTION public.credit_transactions_limit_refund();
