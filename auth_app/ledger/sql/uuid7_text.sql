-- A version 7 uuid (RFC 9562) as text: 48 bits of milliseconds, then 12 bits of the millisecond's
-- fraction, then 62 random bits, so that ids made later sort later. PostgreSQL has uuidv7() from
-- 18 on; one function for 15 to 18 keeps the column's default the same everywhere.
-- One expression without a SET clause, so that PostgreSQL inlines it into the INSERT; time and
-- fraction are one number (seconds times 1000 * 4096), so that the clock is read once.
CREATE OR REPLACE FUNCTION public.uuid7_text() RETURNS text
LANGUAGE sql VOLATILE PARALLEL SAFE
AS $$
    SELECT pg_catalog.overlay(
        pg_catalog.overlay(
            pg_catalog.lpad(
                pg_catalog.to_hex(
                    (pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) * 4096000)::bigint
                ),
                15, '0'
            ),
            '-7', 13, 0
        ),
        '-', 9, 0
    ) || pg_catalog.substr(pg_catalog.gen_random_uuid()::text, 19)
$$;
