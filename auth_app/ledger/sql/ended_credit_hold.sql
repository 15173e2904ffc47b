-- How a hold that has ended did so, against how it is to be ended now; no verdict if it has not. Read-only.
-- The same settlement again is 'replayed', and a release of what was given back already; for all else
-- the verdict is 'hold_settled', 'hold_released' or 'hold_expired'.
CREATE OR REPLACE FUNCTION public.ended_credit_hold(
    p_hold_id text, p_end text, p_used integer,
    OUT verdict text, OUT balance integer, OUT id text, OUT charged integer, OUT uncharged integer,
    OUT created_at timestamp
)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_refund public.credit_transactions;
    v_end text;
    v_used integer;
BEGIN
    SELECT * INTO v_refund FROM public.credit_transactions r WHERE r.refund_of = p_hold_id;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    v_end := v_refund.transaction_metadata ->> 'hold';
    v_used := (v_refund.transaction_metadata ->> 'used')::integer;
    SELECT t.id, t.balance_after, t.created_at, -t.amount INTO id, balance, created_at, charged
    FROM public.credit_transactions t
    WHERE t.user_id = v_refund.user_id AND t.idempotency_key = 'settled by ' || v_refund.id;
    IF NOT FOUND THEN
        balance := v_refund.balance_after;
        created_at := v_refund.created_at;
        charged := 0;
        id := CASE WHEN p_end <> 'settled' THEN v_refund.id END;
    END IF;
    uncharged := v_used - charged;
    verdict := CASE
        WHEN v_end = 'settled' AND p_end = 'settled' AND v_used = p_used THEN 'replayed'
        WHEN v_end <> 'settled' AND p_end <> 'settled' THEN 'replayed'
        ELSE 'hold_' || v_end END;
END
$$;

REVOKE EXECUTE ON FUNCTION public.ended_credit_hold FROM PUBLIC;
