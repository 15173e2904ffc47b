-- A user's rows go with the user, also those of balances that stay: of others' teams and API keys. What
-- their ledgers lose by it is written as a row of the pool's owner with the operation 'departure', and the
-- balance stays. What the user holds of them is given back, since nobody can settle it any more. A team without an owner has it in a row of its first member, else of the first user in
-- its ledger; where nobody is left, its balance becomes what its ledger still says.
--
-- Everything that the deletion is going to change is locked here, in the order that spenders lock in:
-- users, user_credits, teams, API keys, and then the ledger's rows.
CREATE OR REPLACE FUNCTION public.users_leave_pools() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_teams text[];
    v_keys text[];
    v_named text[];
BEGIN
    -- On a relation of somebody else, the casts of its columns' types would run in here.
    IF TG_RELID <> 'public.users'::regclass THEN
        RAISE EXCEPTION 'users_leave_pools() is for its own table only'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    -- Nobody can write another row of this user: that takes a lock which the deletion excludes.
    SELECT array_agg(DISTINCT t.team_id) FILTER (WHERE t.payer = 'team'),
           array_agg(DISTINCT t.api_key_id) FILTER (WHERE t.payer = 'api_key'),
           array_agg(DISTINCT t.team_id)
    INTO v_teams, v_keys, v_named
    FROM public.credit_transactions t WHERE t.user_id = OLD.id AND t.payer <> 'user';

    IF v_teams IS NOT NULL OR v_keys IS NOT NULL THEN
        PERFORM FROM public.users u
        WHERE u.id IN (
            SELECT public.credit_team_heir(g.id, OLD.id) FROM public.teams g WHERE g.id = ANY (v_teams)
            UNION SELECT k.user_id FROM public.api_key_credits k WHERE k.api_key = ANY (v_keys))
        ORDER BY u.id FOR KEY SHARE;
    END IF;
    -- Not FOR UPDATE, which whoever deletes the user's team would wait for, with the team locked.
    PERFORM FROM public.user_credits a WHERE a.user_id = OLD.id FOR NO KEY UPDATE;
    -- A team's deletion changes the rows that name it, and the keys in it.
    PERFORM FROM public.teams g
    WHERE g.owner_id = OLD.id OR g.id = ANY (v_named) OR g.id IN (
        SELECT k.team_id FROM public.api_key_credits k
        WHERE k.user_id = OLD.id OR k.api_key = ANY (v_keys))
    ORDER BY g.id FOR UPDATE;
    PERFORM FROM public.api_key_credits k
    WHERE k.user_id = OLD.id OR k.api_key = ANY (v_keys)
       OR k.team_id IN (SELECT g.id FROM public.teams g WHERE g.owner_id = OLD.id)
    ORDER BY k.api_key FOR UPDATE;

    IF v_teams IS NOT NULL OR v_keys IS NOT NULL THEN
        WITH pools AS (
            SELECT p.*, least(2147483647 - p.credits, h.held) AS held
            FROM (
                SELECT 'team' AS payer, g.id AS team_id, NULL AS api_key, g.credits,
                       public.credit_team_heir(g.id, OLD.id) AS heir, sum(t.amount) AS lost
                FROM public.teams g
                JOIN public.credit_transactions t
                  ON t.user_id = OLD.id AND t.payer = 'team' AND t.team_id = g.id
                WHERE g.id = ANY (v_teams) GROUP BY g.id
                UNION ALL
                SELECT 'api_key', k.team_id, k.api_key, k.credits, u.id, sum(t.amount)
                FROM public.api_key_credits k
                JOIN public.users u ON u.id = k.user_id AND u.id <> OLD.id
                JOIN public.credit_transactions t
                  ON t.user_id = OLD.id AND t.payer = 'api_key' AND t.api_key_id = k.api_key
                WHERE k.api_key = ANY (v_keys) GROUP BY k.api_key, k.team_id, k.credits, u.id
            ) AS p, LATERAL (
                SELECT coalesce(-sum(t.amount), 0) AS held FROM public.credit_transactions t
                WHERE t.user_id = OLD.id AND t.type = 'usage' AND t.held_until IS NOT NULL
                  AND t.payer = p.payer
                  AND coalesce(t.api_key_id, t.team_id) = coalesce(p.api_key, p.team_id)
                  AND NOT EXISTS (
                      SELECT FROM public.credit_transactions r WHERE r.refund_of = t.id)
            ) AS h
        ), teams AS (
            UPDATE public.teams g
            SET credits = CASE WHEN p.heir IS NULL THEN greatest(0, g.credits - p.lost)
                               ELSE g.credits + p.held END,
                updated_at = timezone('utc', now())
            FROM pools p
            WHERE p.payer = 'team' AND g.id = p.team_id
              AND (p.held > 0 AND p.heir IS NOT NULL OR p.heir IS NULL AND g.owner_id IS NULL)
        ), keys AS (
            UPDATE public.api_key_credits k
            SET credits = k.credits + p.held, updated_at = timezone('utc', now())
            FROM pools p WHERE p.payer = 'api_key' AND k.api_key = p.api_key AND p.held > 0
        )
        INSERT INTO public.credit_transactions
            (user_id, team_id, amount, type, operation, api_key_id, payer, balance_after)
        -- A sum may be more than a row holds.
        SELECT p.heir, p.team_id, sign(s.lost) * least(2147483647, abs(s.lost) - n * 2147483647),
               CASE WHEN s.lost < 0 THEN 'usage' ELSE 'bonus' END, 'departure', p.api_key, p.payer,
               p.credits + p.held
        FROM pools p, LATERAL (SELECT p.lost + p.held AS lost) AS s,
             generate_series(0, (abs(s.lost) - 1) / 2147483647) AS n
        WHERE p.heir IS NOT NULL AND s.lost <> 0;
    END IF;
    RETURN OLD;
END
$$;

REVOKE EXECUTE ON FUNCTION public.users_leave_pools FROM PUBLIC;

CREATE OR REPLACE TRIGGER users_leave_pools BEFORE DELETE ON public.users
FOR EACH ROW EXECUTE FUNCTION public.users_leave_pools();
