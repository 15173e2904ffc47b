CREATE FUNCTION public.users_open_credit_account() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM public.open_credit_account(NEW.id);
    RETURN NULL;
END
$$;

CREATE TRIGGER users_open_credit_account AFTER INSERT ON public.users
FOR EACH ROW EXECUTE FUNCTION public.users_open_credit_account();
