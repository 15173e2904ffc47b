-- Refuses a change of what the ledger's rows name: the id of a user or a team, an API key. With another
-- id for a moment, a user's rows could be taken for those of a deleted one; under another name, a key's
-- balance would stand against an empty ledger.
CREATE OR REPLACE FUNCTION public.keep_key() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION '%.% never changes: the ledger names it', TG_TABLE_NAME, TG_ARGV[0]
        USING ERRCODE = 'LC006', HINT = 'Insert a new row instead.';
END
$$;

REVOKE EXECUTE ON FUNCTION public.keep_key FROM PUBLIC;

CREATE OR REPLACE TRIGGER users_keep_id BEFORE UPDATE ON public.users
FOR EACH ROW WHEN (NEW.id IS DISTINCT FROM OLD.id) EXECUTE FUNCTION public.keep_key('id');

-- AFTER: the balances are updated all the time, and before it a trigger costs a lock.
CREATE OR REPLACE TRIGGER teams_keep_id AFTER UPDATE ON public.teams
FOR EACH ROW WHEN (NEW.id IS DISTINCT FROM OLD.id) EXECUTE FUNCTION public.keep_key('id');

CREATE OR REPLACE TRIGGER api_key_credits_keep_api_key AFTER UPDATE ON public.api_key_credits
FOR EACH ROW WHEN (NEW.api_key IS DISTINCT FROM OLD.api_key)
EXECUTE FUNCTION public.keep_key('api_key');

-- ALWAYS: session_replication_role = replica does not skip them.
ALTER TABLE public.users ENABLE ALWAYS TRIGGER users_keep_id;
ALTER TABLE public.teams ENABLE ALWAYS TRIGGER teams_keep_id;
ALTER TABLE public.api_key_credits ENABLE ALWAYS TRIGGER api_key_credits_keep_api_key;
