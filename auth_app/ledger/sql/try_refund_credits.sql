-- Give p_amount credits of a usage back to whoever paid it, or all that is left of it (NULL).
-- The lock on the account orders all refunds of it, and a trigger on credit_transactions checks the
-- sum once more. A key gets back its allowance of the day and month too.
-- Verdicts: done, replayed, unknown_account, key_reused, nothing_to_refund (balance is then what is
-- left of the usage), is_hold (settle or release that), overflow.
CREATE OR REPLACE FUNCTION public.try_refund_credits(
    p_transaction_id text, p_amount integer DEFAULT NULL, p_metadata jsonb DEFAULT NULL,
    p_idempotency_key text DEFAULT NULL,
    OUT verdict text, OUT balance integer, OUT entry public.credit_transactions
)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_used public.credit_transactions;
    v_left integer;
    v_amount integer;
BEGIN
    IF p_transaction_id IS NULL THEN
        RAISE EXCEPTION 'transaction_id is missing' USING ERRCODE = 'LC007';
    END IF;
    PERFORM public.check_credit_input(
        'of the usage', coalesce(p_amount, 1), 'refund', p_idempotency_key, p_metadata);
    SELECT * INTO v_used FROM public.credit_transactions t
    WHERE t.id = p_transaction_id AND t.type = 'usage' AND t.reversal_of IS NULL
      AND coalesce(t.operation, '') NOT IN ('rollover', 'reconcile', 'departure');
    IF v_used.held_until IS NOT NULL THEN
        verdict := 'is_hold';
        RETURN;
    END IF;
    IF v_used.id IS NULL THEN
        verdict := 'nothing_to_refund';
        balance := 0;
        RETURN;
    END IF;

    balance := public.lock_credit_account(
        v_used.payer, v_used.user_id,
        CASE WHEN v_used.payer = 'team' THEN v_used.team_id END, v_used.api_key_id, false);
    IF p_idempotency_key IS NOT NULL THEN
        SELECT * INTO entry FROM public.credit_transactions t
        WHERE t.user_id = v_used.user_id AND t.idempotency_key = p_idempotency_key;
        IF FOUND THEN
            verdict := CASE WHEN entry.refund_of = p_transaction_id
                             AND entry.amount = coalesce(p_amount, entry.amount)
                            THEN 'replayed' ELSE 'key_reused' END;
            balance := entry.balance_after;
            RETURN;
        END IF;
    END IF;
    SELECT -v_used.amount - coalesce(sum(t.amount), 0) INTO v_left
    FROM public.credit_transactions t WHERE t.refund_of = p_transaction_id;
    v_amount := coalesce(p_amount, v_left);
    verdict := CASE
        WHEN v_left < greatest(v_amount, 1) THEN 'nothing_to_refund'
        WHEN balance IS NULL THEN 'unknown_account'
        WHEN balance::bigint + v_amount > 2147483647 THEN 'overflow' END;
    IF verdict IS NOT NULL THEN
        balance := CASE verdict WHEN 'nothing_to_refund' THEN v_left ELSE balance END;
        RETURN;
    END IF;

    balance := public.add_to_credit_account(
        v_used.payer, v_used.user_id, v_used.team_id, v_used.api_key_id, v_amount);
    IF v_used.payer = 'api_key' THEN
        UPDATE public.api_key_credits a
        SET spent_that_day = greatest(0, a.spent_that_day
                - CASE WHEN v_used.created_at >= a.spent_on THEN v_amount ELSE 0 END),
            spent_that_month = greatest(0, a.spent_that_month
                - CASE WHEN v_used.created_at >= date_trunc('month', a.spent_on)
                       THEN v_amount ELSE 0 END)
        WHERE a.api_key = v_used.api_key_id;
    END IF;
    INSERT INTO public.credit_transactions
        (user_id, team_id, amount, type, operation, resource_id, api_key_id, transaction_metadata,
         payer, balance_after, idempotency_key, refund_of)
    VALUES
        (v_used.user_id, v_used.team_id, v_amount, 'refund', v_used.operation, v_used.resource_id,
         v_used.api_key_id, p_metadata, v_used.payer, balance, p_idempotency_key, p_transaction_id)
    ON CONFLICT DO NOTHING
    RETURNING * INTO entry;
    IF NOT FOUND THEN
        PERFORM public.raise_key_conflict();
    END IF;
    verdict := 'done';
END
$$;

REVOKE EXECUTE ON FUNCTION public.try_refund_credits FROM PUBLIC;
