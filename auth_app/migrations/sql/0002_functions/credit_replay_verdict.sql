-- 'replayed' where the row with a used key is what is asked for again, 'key_reused' where it is not.
-- p_type is the row's, or 'hold'. The row of a team that is gone is without a team: it is a replay for
-- no other.
CREATE OR REPLACE FUNCTION public.credit_replay_verdict(
    p_entry public.credit_transactions, p_type text, p_amount integer, p_operation text,
    p_payer text, p_team_id text, p_api_key text
) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE
        WHEN CASE WHEN p_entry.held_until IS NULL THEN p_entry.type ELSE 'hold' END = p_type
         AND p_entry.amount = p_amount
         AND p_entry.operation IS NOT DISTINCT FROM p_operation
         AND p_entry.payer = p_payer
         AND (p_payer <> 'team' OR p_entry.team_id = p_team_id)
         AND (p_payer <> 'api_key' OR p_entry.api_key_id = p_api_key)
        THEN 'replayed' ELSE 'key_reused' END
$$;

REVOKE EXECUTE ON FUNCTION public.credit_replay_verdict FROM PUBLIC;
