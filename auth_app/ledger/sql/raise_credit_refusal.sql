-- The error of a refusal, for clients that call the functions which raise. DETAIL is JSON.
CREATE OR REPLACE FUNCTION public.raise_credit_refusal(
    p_verdict text, p_balance integer, p_amount integer, p_subject text
) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION USING
        ERRCODE = CASE p_verdict
            WHEN 'insufficient' THEN 'LC001'
            WHEN 'unknown_account' THEN 'LC002'
            WHEN 'key_reused' THEN 'LC003'
            WHEN 'daily_limit' THEN 'LC004'
            WHEN 'monthly_limit' THEN 'LC004'
            WHEN 'nothing_to_refund' THEN 'LC005'
            WHEN 'is_hold' THEN 'LC005'
            WHEN 'above_hold' THEN 'LC008'
            WHEN 'hold_settled' THEN 'LC009'
            WHEN 'hold_released' THEN 'LC009'
            WHEN 'hold_expired' THEN 'LC009'
            WHEN 'unknown_hold' THEN 'LC009'
            WHEN 'nothing_to_reverse' THEN 'LC005'
            WHEN 'nothing_to_reinstate' THEN 'LC005'
            ELSE '22003' END,
        MESSAGE = CASE p_verdict
            WHEN 'insufficient' THEN format(
                '%s has %s credits, and %s were asked for', p_subject, p_balance, p_amount)
            WHEN 'unknown_account' THEN format('there is no credit account of %s', p_subject)
            WHEN 'key_reused' THEN format(
                'the idempotency key was used by %s for another transaction', p_subject)
            WHEN 'daily_limit' THEN format(
                'the daily limit leaves %s credits, and %s were asked for', p_balance, p_amount)
            WHEN 'monthly_limit' THEN format(
                'the monthly limit leaves %s credits, and %s were asked for', p_balance, p_amount)
            WHEN 'nothing_to_refund' THEN format(
                'of %s %s credits are left to refund', p_subject, p_balance)
            WHEN 'is_hold' THEN format('%s is a hold: settle or release it', p_subject)
            WHEN 'above_hold' THEN format(
                '%s is of %s credits, and %s were used', p_subject, p_balance, p_amount)
            WHEN 'hold_settled' THEN format('%s was settled before', p_subject)
            WHEN 'hold_released' THEN format('%s was released before', p_subject)
            WHEN 'hold_expired' THEN format('%s has expired and was given back', p_subject)
            WHEN 'unknown_hold' THEN format('there is no %s', p_subject)
            WHEN 'nothing_to_reverse' THEN format(
                'of %s %s credits are left to reverse', p_subject, p_balance)
            WHEN 'nothing_to_reinstate' THEN format(
                'of %s %s credits are left to reinstate', p_subject, p_balance)
            ELSE format('%s credits more do not fit into the account of %s', p_amount, p_subject)
            END,
        DETAIL = json_build_object(
            'verdict', p_verdict, 'balance', p_balance, 'amount', p_amount, 'subject', p_subject
        )::text;
END
$$;

REVOKE EXECUTE ON FUNCTION public.raise_credit_refusal FROM PUBLIC;
