-- For spends of one account in their order: what those before each of them have taken from p_room, the
-- credits that may be spent. One that does not fit takes nothing, and a later one may still fit.
CREATE OR REPLACE FUNCTION public.credits_taken_before(p_room bigint, p_amounts bigint[])
RETURNS bigint[]
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_taken bigint := 0;
    v_before bigint[] := '{}';
    v_amount bigint;
BEGIN
    FOREACH v_amount IN ARRAY p_amounts LOOP
        v_before := v_before || v_taken;
        IF v_taken + v_amount <= p_room THEN
            v_taken := v_taken + v_amount;
        END IF;
    END LOOP;
    RETURN v_before;
END
$$;

REVOKE EXECUTE ON FUNCTION public.credits_taken_before FROM PUBLIC;
