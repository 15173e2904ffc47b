-- The ledger's history is kept for every client, however it connects.

-- Rows go only with their user, and lose their team only with the team: exactly what the foreign
-- keys' own DELETE and SET NULL do. Asked of the tables, not of the trigger depth, which a client's
-- own trigger could raise. SECURITY DEFINER, so that a client without rights on users and teams is
-- refused for the right reason.
CREATE FUNCTION public.credit_transactions_keep_history() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF TG_OP = 'DELETE' AND NOT EXISTS (SELECT FROM public.users WHERE id = OLD.user_id) THEN
        RETURN OLD;
    END IF;
    IF TG_OP = 'UPDATE' AND OLD.team_id IS NOT NULL AND NEW.team_id IS NULL
       AND NOT EXISTS (SELECT FROM public.teams WHERE id = OLD.team_id) THEN
        OLD.team_id := NULL;
        IF NEW IS NOT DISTINCT FROM OLD THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'credit_transactions is append-only: % is refused', TG_OP
        USING ERRCODE = 'LC006',
              HINT = 'Write a correcting row: a refund with refund_credits, or a bonus or usage.';
END
$$;

CREATE TRIGGER credit_transactions_keep_history
BEFORE UPDATE OR DELETE ON public.credit_transactions
FOR EACH ROW EXECUTE FUNCTION public.credit_transactions_keep_history();

CREATE TRIGGER credit_transactions_keep_all
BEFORE TRUNCATE ON public.credit_transactions
FOR EACH STATEMENT EXECUTE FUNCTION public.credit_transactions_keep_history();

-- ALWAYS: session_replication_role = replica does not skip them.
ALTER TABLE public.credit_transactions ENABLE ALWAYS TRIGGER credit_transactions_keep_history;
ALTER TABLE public.credit_transactions ENABLE ALWAYS TRIGGER credit_transactions_keep_all;

-- What is given back of a usage is never more than was taken, whoever writes the row.
-- refunded_before is the sum of the earlier refunds. With its unique index two refunds that did not
-- see each other (REPEATABLE READ takes the row lock, and still reads its old snapshot) collide.
CREATE FUNCTION public.credit_transactions_limit_refund() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    used public.credit_transactions;
BEGIN
    SELECT * INTO used FROM public.credit_transactions t
    WHERE t.id = NEW.refund_of AND t.type = 'usage' AND t.user_id = NEW.user_id
      AND t.payer = NEW.payer
      AND coalesce(t.operation, '') NOT IN ('rollover', 'reconcile')
    FOR NO KEY UPDATE;
    IF FOUND THEN
        SELECT coalesce(sum(t.amount), 0) INTO NEW.refunded_before
        FROM public.credit_transactions t WHERE t.refund_of = NEW.refund_of;
        IF NEW.refunded_before + NEW.amount <= -used.amount THEN
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

CREATE TRIGGER credit_transactions_limit_refund
BEFORE INSERT ON public.credit_transactions
FOR EACH ROW WHEN (NEW.refund_of IS NOT NULL)
EXECUTE FUNCTION public.credit_transactions_limit_refund();
