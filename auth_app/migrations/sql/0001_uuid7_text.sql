-- A version 7 uuid (RFC 9562) as text: 48 bits of milliseconds, then 12 bits of the millisecond's
-- fraction, then 62 random bits, so that ids made later sort later. PostgreSQL has uuidv7() from
-- 18 on; one function for 15 to 18 keeps the column's default the same everywhere.
CREATE FUNCTION public.uuid7_text() RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    micros bigint := extract(epoch FROM clock_timestamp()) * 1000000;
    millis text := lpad(to_hex(micros / 1000), 12, '0');
BEGIN
    RETURN left(millis, 8) || '-' || right(millis, 4)
        || '-7' || lpad(to_hex((micros % 1000) * 4096 / 1000), 3, '0')
        || substr(gen_random_uuid()::text, 19);
END
$$;
