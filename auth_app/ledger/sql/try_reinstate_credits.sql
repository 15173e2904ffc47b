-- Give p_amount credits of a reversed purchase back, or all that was reversed of it (NULL): the dispute
-- was won. What the account still owes of this purchase is settled first.
-- Verdicts: done, replayed, unknown_account, key_reused, overflow, nothing_to_reinstate (balance is then
-- what is reversed of the purchase).
CREATE OR REPLACE FUNCTION public.try_reinstate_credits(
    p_purchase_id text, p_amount integer DEFAULT NULL, p_metadata jsonb DEFAULT NULL,
    p_idempotency_key text DEFAULT NULL,
    OUT verdict text, OUT balance integer, OUT entry public.credit_transactions
)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_bought public.credit_transactions;
    v_reversed integer;
    v_owed integer;
    v_amount integer;
BEGIN
    IF p_purchase_id IS NULL THEN
        RAISE EXCEPTION 'purchase_id is missing' USING ERRCODE = 'LC007';
    END IF;
    PERFORM public.check_credit_input(
        'of the purchase', coalesce(p_amount, 1), 'reinstatement', p_idempotency_key, p_metadata);
    SELECT * INTO v_bought FROM public.credit_transactions t
    WHERE t.id = p_purchase_id AND t.type = 'purchase';
    IF NOT FOUND THEN
        verdict := 'nothing_to_reinstate';
        balance := 0;
        RETURN;
    END IF;

    balance := public.lock_credit_account(
        v_bought.payer, v_bought.user_id,
        CASE WHEN v_bought.payer = 'team' THEN v_bought.team_id END, v_bought.api_key_id, false);
    IF p_idempotency_key IS NOT NULL THEN
        SELECT * INTO entry FROM public.credit_transactions t
        WHERE t.user_id = v_bought.user_id AND t.idempotency_key = p_idempotency_key;
        IF FOUND THEN
            verdict := CASE WHEN entry.reversal_of = p_purchase_id
                             AND entry.operation = 'reinstatement'
                             AND entry.amount = coalesce(p_amount, entry.amount)
                            THEN 'replayed' ELSE 'key_reused' END;
            balance := entry.balance_after;
            RETURN;
        END IF;
    END IF;
    SELECT coalesce(-sum(t.amount) FILTER (WHERE t.operation <> 'shortfall'), 0),
           coalesce(sum(t.amount) FILTER (WHERE t.operation = 'shortfall'), 0)
    INTO v_reversed, v_owed
    FROM public.credit_transactions t
    WHERE t.user_id = v_bought.user_id AND t.reversal_of = p_purchase_id;
    v_amount := coalesce(p_amount, v_reversed);
    verdict := CASE
        WHEN v_reversed < greatest(v_amount, 1) THEN 'nothing_to_reinstate'
        WHEN balance IS NULL THEN 'unknown_account'
        WHEN balance::bigint + v_amount > 2147483647
             OR v_bought.payer = 'user' AND EXISTS (
                 SELECT FROM public.user_credits a WHERE a.user_id = v_bought.user_id
                 AND a.total_credits_purchased::bigint + v_amount > 2147483647)
            THEN 'overflow' END;
    IF verdict IS NOT NULL THEN
        balance := CASE verdict WHEN 'nothing_to_reinstate' THEN v_reversed ELSE balance END;
        RETURN;
    END IF;

    balance := public.add_to_credit_account(
        v_bought.payer, v_bought.user_id, v_bought.team_id, v_bought.api_key_id, v_amount, v_amount);
    INSERT INTO public.credit_transactions
        (user_id, team_id, amount, type, operation, resource_id, api_key_id, transaction_metadata,
         payer, balance_after, idempotency_key, reversal_of)
    VALUES
        (v_bought.user_id, v_bought.team_id, v_amount, 'refund', 'reinstatement',
         v_bought.resource_id, v_bought.api_key_id, p_metadata, v_bought.payer, balance,
         p_idempotency_key, p_purchase_id)
    ON CONFLICT DO NOTHING
    RETURNING * INTO entry;
    IF NOT FOUND THEN
        PERFORM public.raise_key_conflict();
    END IF;
    IF v_owed > 0 THEN
        balance := public.settle_credit_shortfall(
            p_purchase_id, entry.id, least(v_owed, v_amount));
    END IF;
    verdict := 'done';
END
$$;

REVOKE ALL ON FUNCTION public.try_reinstate_credits FROM PUBLIC;
