-- Settles what the payer of a grant owes of reversed purchases, the oldest first, from the credits that
-- the grant has brought into its account, which the caller has locked. Returns the balance after it, NULL
-- where nothing was owed.
CREATE OR REPLACE FUNCTION public.collect_credit_shortfall(p_grant_id text) RETURNS integer
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_grant public.credit_transactions;
    v_owed record;
    v_left integer;
    v_balance integer;
BEGIN
    SELECT * INTO v_grant FROM public.credit_transactions t WHERE t.id = p_grant_id;
    v_left := v_grant.amount;
    -- One branch for each payer, so that each can go by its index. All rows of a reversal are of one user.
    FOR v_owed IN
        SELECT s.reversal_of, min(s.user_id) AS user_id, sum(s.amount)::integer AS amount
        FROM (
            SELECT t.id, t.user_id, t.reversal_of, t.amount FROM public.credit_transactions t
            WHERE v_grant.payer = 'user' AND t.payer = 'user' AND t.user_id = v_grant.user_id
              AND t.reversal_of IS NOT NULL AND t.operation = 'shortfall'
            UNION ALL
            SELECT t.id, t.user_id, t.reversal_of, t.amount FROM public.credit_transactions t
            WHERE v_grant.payer = 'team' AND t.payer = 'team' AND t.team_id = v_grant.team_id
              AND t.reversal_of IS NOT NULL AND t.operation = 'shortfall'
            UNION ALL
            SELECT t.id, t.user_id, t.reversal_of, t.amount FROM public.credit_transactions t
            WHERE v_grant.payer = 'api_key' AND t.payer = 'api_key'
              AND t.api_key_id = v_grant.api_key_id
              AND t.reversal_of IS NOT NULL AND t.operation = 'shortfall'
        ) AS s
        GROUP BY s.reversal_of HAVING sum(s.amount) > 0 ORDER BY min(s.id)
    LOOP
        -- Users come before the account in the order of locks, so one that somebody has locked, to delete
        -- the user, is not waited for: what a user has bought is not owed any more once the user is gone.
        PERFORM FROM public.users u WHERE u.id = v_owed.user_id FOR KEY SHARE SKIP LOCKED;
        CONTINUE WHEN NOT FOUND;
        v_balance := public.settle_credit_shortfall(
            v_owed.reversal_of, p_grant_id, least(v_owed.amount, v_left));
        v_left := v_left - least(v_owed.amount, v_left);
        EXIT WHEN v_left = 0;
    END LOOP;
    RETURN v_balance;
END
$$;

REVOKE ALL ON FUNCTION public.collect_credit_shortfall FROM PUBLIC;
