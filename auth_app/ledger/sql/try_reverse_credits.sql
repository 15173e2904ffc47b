-- Take p_amount credits of a purchase back, or all that is left of it (NULL): its payment was refunded
-- or is disputed. Takes what the account has. What it lacks is lent to it for this, as a bonus with the
-- operation 'shortfall' beside the reversal, so that the reversal stands whole in the ledger, no
-- balance is ever negative, and what is owed is the sum of the shortfalls.
-- Verdicts: done, replayed, unknown_account, key_reused, nothing_to_reverse (balance is then what is
-- left of the purchase). missing is what the account lacked.
CREATE OR REPLACE FUNCTION public.try_reverse_credits(
    p_purchase_id text, p_amount integer DEFAULT NULL, p_metadata jsonb DEFAULT NULL,
    p_idempotency_key text DEFAULT NULL,
    OUT verdict text, OUT balance integer, OUT missing integer, OUT entry public.credit_transactions
)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_bought public.credit_transactions;
    v_left integer;
    v_amount integer;
    v_account text;
    v_lent_id text;
    v_id text;
BEGIN
    IF p_purchase_id IS NULL THEN
        RAISE EXCEPTION 'purchase_id is missing' USING ERRCODE = 'LC007';
    END IF;
    PERFORM public.check_credit_input(
        'of the purchase', coalesce(p_amount, 1), 'reversal', p_idempotency_key, p_metadata);
    missing := 0;
    SELECT * INTO v_bought FROM public.credit_transactions t
    WHERE t.id = p_purchase_id AND t.type = 'purchase';
    IF NOT FOUND THEN
        verdict := 'nothing_to_reverse';
        balance := 0;
        RETURN;
    END IF;

    v_account := CASE v_bought.payer WHEN 'user' THEN v_bought.user_id
                     WHEN 'team' THEN v_bought.team_id ELSE v_bought.api_key_id END;
    balance := public.lock_credit_account(
        v_bought.payer, v_bought.user_id,
        CASE WHEN v_bought.payer = 'team' THEN v_bought.team_id END, v_bought.api_key_id, false);
    IF p_idempotency_key IS NOT NULL THEN
        SELECT * INTO entry FROM public.credit_transactions t
        WHERE t.user_id = v_bought.user_id AND t.idempotency_key = p_idempotency_key;
        IF FOUND THEN
            verdict := CASE WHEN entry.reversal_of = p_purchase_id AND entry.operation = 'reversal'
                             AND entry.amount = -coalesce(p_amount, -entry.amount)
                            THEN 'replayed' ELSE 'key_reused' END;
            balance := entry.balance_after;
            SELECT coalesce(sum(t.amount), 0) INTO missing FROM public.credit_transactions t
            WHERE t.user_id = v_bought.user_id AND t.reversal_of = p_purchase_id
              AND t.operation = 'shortfall' AND t.type = 'bonus'
              AND t.resource_id = entry.id;
            RETURN;
        END IF;
    END IF;
    SELECT v_bought.amount + coalesce(sum(t.amount), 0) INTO v_left
    FROM public.credit_transactions t
    WHERE t.user_id = v_bought.user_id AND t.reversal_of = p_purchase_id
      AND t.operation IN ('reversal', 'reinstatement');
    v_amount := coalesce(p_amount, v_left);
    IF v_left < greatest(v_amount, 1) OR balance IS NULL THEN
        verdict := CASE WHEN v_left < greatest(v_amount, 1)
                        THEN 'nothing_to_reverse' ELSE 'unknown_account' END;
        balance := CASE verdict WHEN 'nothing_to_reverse' THEN v_left END;
        RETURN;
    END IF;

    IF balance < v_amount AND public.release_expired_credits(v_bought.payer, v_account) > 0 THEN
        balance := (public.credit_account_state(v_bought.payer, v_account)).balance;
    END IF;
    missing := greatest(0, v_amount - balance);
    -- Read before the row that names it, because an account's ids are in the order of its balances.
    v_lent_id := public.uuid7_text();
    v_id := public.uuid7_text();
    IF missing > 0 THEN
        INSERT INTO public.credit_transactions
            (id, user_id, team_id, amount, type, operation, resource_id, api_key_id, payer,
             balance_after, reversal_of)
        VALUES
            (v_lent_id, v_bought.user_id, v_bought.team_id, missing, 'bonus', 'shortfall', v_id,
             v_bought.api_key_id, v_bought.payer, balance + missing, p_purchase_id);
    END IF;
    balance := public.add_to_credit_account(
        v_bought.payer, v_bought.user_id, v_bought.team_id, v_bought.api_key_id,
        missing - v_amount, -v_amount);
    INSERT INTO public.credit_transactions
        (id, user_id, team_id, amount, type, operation, resource_id, api_key_id,
         transaction_metadata, payer, balance_after, idempotency_key, reversal_of)
    VALUES
        (v_id, v_bought.user_id, v_bought.team_id, -v_amount, 'usage', 'reversal',
         v_bought.resource_id, v_bought.api_key_id, p_metadata, v_bought.payer, balance,
         p_idempotency_key, p_purchase_id)
    ON CONFLICT DO NOTHING
    RETURNING * INTO entry;
    IF NOT FOUND THEN
        PERFORM public.raise_key_conflict();
    END IF;
    verdict := 'done';
END
$$;

REVOKE ALL ON FUNCTION public.try_reverse_credits FROM PUBLIC;
