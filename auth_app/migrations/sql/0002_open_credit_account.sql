-- As in 0001, with the balance on the bonus row, and every bonus that an integer column can hold.
CREATE OR REPLACE FUNCTION public.open_credit_account(new_user_id text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    stored text;
    bonus integer := 100;
BEGIN
    -- The database's own setting, the same for every client; a session's SET does not reach it.
    SELECT substr(setting, length('fltr.signup_bonus_credits=') + 1) INTO stored
    FROM pg_database d
    JOIN pg_db_role_setting s ON s.setdatabase = d.oid AND s.setrole = 0
    CROSS JOIN unnest(s.setconfig) AS setting
    WHERE d.datname = current_database()
      AND starts_with(setting, 'fltr.signup_bonus_credits=');
    -- A setting that is no number must not stop sign-ups.
    IF stored ~ '^[0-9]{1,10}$' AND stored::bigint <= 2147483647 THEN
        bonus := stored::integer;
    END IF;

    INSERT INTO public.user_credits (user_id, credits) VALUES (new_user_id, bonus)
    ON CONFLICT (user_id) DO NOTHING;
    IF FOUND AND bonus > 0 THEN
        INSERT INTO public.credit_transactions (user_id, amount, type, operation, balance_after)
        VALUES (new_user_id, bonus, 'bonus', 'signup', bonus);
    END IF;
END
$$;
