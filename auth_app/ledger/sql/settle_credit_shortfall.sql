-- Takes p_amount of what is owed of a reversed purchase from the account that owes it, which the caller
-- has locked and which has that much; returns the new balance. p_resource_id is the id of the row that
-- brought it in. All rows of a reversal are of the purchase's user, whoever has paid: they are found by it.
CREATE OR REPLACE FUNCTION public.settle_credit_shortfall(
    p_purchase_id text, p_resource_id text, p_amount integer
) RETURNS integer
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_bought public.credit_transactions;
    v_balance integer;
BEGIN
    SELECT * INTO v_bought FROM public.credit_transactions t WHERE t.id = p_purchase_id;
    v_balance := public.add_to_credit_account(
        v_bought.payer, v_bought.user_id, v_bought.team_id, v_bought.api_key_id, -p_amount);
    INSERT INTO public.credit_transactions
        (user_id, team_id, amount, type, operation, resource_id, api_key_id, payer, balance_after,
         reversal_of)
    VALUES
        (v_bought.user_id, v_bought.team_id, -p_amount, 'usage', 'shortfall', p_resource_id,
         v_bought.api_key_id, v_bought.payer, v_balance, p_purchase_id);
    RETURN v_balance;
END
$$;

REVOKE ALL ON FUNCTION public.settle_credit_shortfall FROM PUBLIC;
