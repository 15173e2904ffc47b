-- Lets deletions of users wait for each other. A user's row is locked before any trigger can look what
-- else is to be locked, and two users may own each other's teams: whoever comes first has to be through
-- before the other begins. The lock is that of a row which every database of ours has and which no role
-- can lock without rights on it, so that nobody else can hold deletions up.
CREATE OR REPLACE FUNCTION public.users_delete_in_turn() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF TG_RELID <> 'public.users'::regclass THEN
        RAISE EXCEPTION 'users_delete_in_turn() is for its own table only'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    -- Another program may have dropped it; then the server finds out which of two has to give way.
    IF to_regclass('public.django_migrations') IS NOT NULL THEN
        PERFORM FROM public.django_migrations m
        WHERE m.id = (SELECT min(f.id) FROM public.django_migrations f) FOR NO KEY UPDATE;
    END IF;
    RETURN NULL;
END
$$;

REVOKE EXECUTE ON FUNCTION public.users_delete_in_turn FROM PUBLIC;

CREATE OR REPLACE TRIGGER users_delete_in_turn BEFORE DELETE ON public.users
FOR EACH STATEMENT EXECUTE FUNCTION public.users_delete_in_turn();
