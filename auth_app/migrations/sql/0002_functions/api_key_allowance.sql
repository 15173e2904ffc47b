-- What the limits of an API key leave today and this month; NULL where it has no such limit. Read-only.
CREATE OR REPLACE FUNCTION public.api_key_allowance(
    p_api_key text, OUT day_left bigint, OUT month_left bigint
)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT a.daily_limit - CASE WHEN a.spent_on >= t.today THEN a.spent_that_day ELSE 0 END,
           a.monthly_limit - CASE WHEN a.spent_on >= date_trunc('month', t.today)
                                  THEN a.spent_that_month ELSE 0 END
    FROM public.api_key_credits a, (SELECT timezone('utc', now())::date) AS t (today)
    WHERE a.api_key = p_api_key
$$;

REVOKE EXECUTE ON FUNCTION public.api_key_allowance FROM PUBLIC;
