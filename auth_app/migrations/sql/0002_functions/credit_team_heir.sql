-- In whose row a team's ledger keeps what it loses by a user's departure: the owner; for a team without
-- one the first member, else the first user in its ledger. NULL where there is nobody, and where the
-- owner is the one who leaves or has just gone: then the team goes too. Read-only.
CREATE OR REPLACE FUNCTION public.credit_team_heir(p_team_id text, p_leaver text) RETURNS text
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN g.owner_id IS NOT NULL THEN (
        SELECT u.id FROM public.users u WHERE u.id = g.owner_id AND u.id <> p_leaver)
    ELSE coalesce(
        (SELECT min(m.user_id) FROM public.user_credits m
         WHERE m.team_id = g.id AND m.user_id <> p_leaver),
        (SELECT min(t.user_id) FROM public.credit_transactions t
         WHERE t.team_id = g.id AND t.payer = 'team' AND t.user_id <> p_leaver)) END
    FROM public.teams g WHERE g.id = p_team_id
$$;

REVOKE EXECUTE ON FUNCTION public.credit_team_heir FROM PUBLIC;
