-- Keeps the ledger's history for every client, however it connects. Rows go only with their user, and
-- lose their team only with the team: exactly what the foreign keys' own DELETE and SET NULL do. Those
-- run as the table's owner, once the parent is gone; so SECURITY INVOKER, to see who runs them. The depth
-- of triggers says nothing, a client's own trigger could raise it. A replica gets the parent's deletion
-- and the rows' from its publisher, in this order.
CREATE OR REPLACE FUNCTION public.credit_transactions_keep_history() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- On a relation of somebody else, the casts of its columns' types would run in here.
    IF TG_RELID <> 'public.credit_transactions'::regclass THEN
        RAISE EXCEPTION 'credit_transactions_keep_history() is for its own table only'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF current_setting('session_replication_role') = 'replica' OR current_user = (
           SELECT pg_get_userbyid(c.relowner) FROM pg_class c WHERE c.oid = TG_RELID) THEN
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
    END IF;
    RAISE EXCEPTION 'credit_transactions is append-only: % is refused', TG_OP
        USING ERRCODE = 'LC006',
              HINT = 'Write a correcting row: a refund with refund_credits, or a bonus or usage.';
END
$$;

REVOKE EXECUTE ON FUNCTION public.credit_transactions_keep_history FROM PUBLIC;

CREATE OR REPLACE TRIGGER credit_transactions_keep_history
BEFORE UPDATE OR DELETE ON public.credit_transactions
FOR EACH ROW EXECUTE FUNCTION public.credit_transactions_keep_history();

CREATE OR REPLACE TRIGGER credit_transactions_keep_all
BEFORE TRUNCATE ON public.credit_transactions
FOR EACH STATEMENT EXECUTE FUNCTION public.credit_transactions_keep_history();

-- ALWAYS: session_replication_role = replica does not skip them.
ALTER TABLE public.credit_transactions ENABLE ALWAYS TRIGGER credit_transactions_keep_history;
ALTER TABLE public.credit_transactions ENABLE ALWAYS TRIGGER credit_transactions_keep_all;
