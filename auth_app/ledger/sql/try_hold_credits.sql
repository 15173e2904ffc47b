-- Takes p_amount credits now, for work whose price is known at its end: try_settle_credits then charges
-- what was used and gives the rest back, try_release_credits gives all back. Unless one of them is
-- called in time, whoever needs the credits after p_expires_in gives them back.
-- Verdicts: those of try_consume_credits; a key that was used for another resource is key_reused too.
-- state is how the hold is: open, settled, released or expired; open too where it is past held_until
-- and nobody has needed the credits. refund_id is the refund that has ended it.
CREATE OR REPLACE FUNCTION public.try_hold_credits(
    p_user_id text, p_amount integer, p_operation text,
    p_expires_in interval DEFAULT '15 minutes', p_resource_id text DEFAULT NULL,
    p_team_id text DEFAULT NULL, p_api_key text DEFAULT NULL, p_metadata jsonb DEFAULT NULL,
    p_idempotency_key text DEFAULT NULL,
    OUT verdict text, OUT balance integer, OUT id text, OUT team_id text, OUT resource_id text,
    OUT metadata jsonb, OUT created_at timestamp, OUT held_until timestamp, OUT state text,
    OUT refund_id text
)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    held_until := timezone('utc', clock_timestamp()) + p_expires_in;
    IF p_expires_in > interval '0' IS NOT TRUE OR NOT isfinite(held_until) THEN
        RAISE EXCEPTION 'a hold expires in the future, got %', p_expires_in
            USING ERRCODE = 'LC007';
    END IF;
    IF p_operation IN ('rollover', 'reconcile', 'departure') THEN
        RAISE EXCEPTION 'credits for % could not be given back; name another operation', p_operation
            USING ERRCODE = 'LC007';
    END IF;
    SELECT c.verdict, c.balance, c.id, c.team_id, c.resource_id, c.metadata, c.created_at
    INTO verdict, balance, id, team_id, resource_id, metadata, created_at
    FROM public.try_consume_credits(
        p_user_id, p_amount, p_operation, p_resource_id, p_team_id, p_api_key, p_metadata,
        p_idempotency_key, held_until) AS c;
    IF verdict = 'done' THEN
        state := 'open';
    ELSIF verdict = 'replayed' THEN
        IF resource_id IS DISTINCT FROM p_resource_id THEN
            verdict := 'key_reused';
        END IF;
        SELECT h.held_until, r.id, coalesce(r.transaction_metadata ->> 'hold', 'open')
        INTO held_until, refund_id, state
        FROM public.credit_transactions h
        LEFT JOIN public.credit_transactions r ON r.refund_of = h.id
        WHERE h.id = try_hold_credits.id;
    ELSE
        held_until := NULL;
    END IF;
END
$$;

REVOKE EXECUTE ON FUNCTION public.try_hold_credits FROM PUBLIC;
