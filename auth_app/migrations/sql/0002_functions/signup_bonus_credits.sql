-- The credits that a new user starts with, the same for every client. `migrate` writes another number
-- into it from SIGNUP_BONUS_CREDITS; the contract compares everything but the number.
CREATE OR REPLACE FUNCTION public.signup_bonus_credits() RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT 100 $$;

REVOKE EXECUTE ON FUNCTION public.signup_bonus_credits FROM PUBLIC;
