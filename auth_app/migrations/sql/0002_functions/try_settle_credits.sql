-- Charges p_used credits of the hold (0 or more) and gives the rest back. With p_overage more than
-- was held may be used: what the balance and the limits hold of it is charged, the rest is uncharged.
-- A hold that has expired can be settled until somebody has needed its credits.
-- id is the usage that was charged, NULL where nothing was. Verdicts: done, replayed (the same again),
-- above_hold, hold_settled (with another amount), hold_released, hold_expired, unknown_hold,
-- unknown_account, overflow. For a hold that has ended, charged is what it was settled with.
-- With p_end the hold is 'released' or, if it has expired (else: hold_open), 'expired', and id is the
-- refund: for try_release_credits and release_expired_credits.
--
-- A hold ends by one refund of all of it, and beside it one usage of what was used. The refund says in
-- its metadata how the hold ended. The usage's idempotency key is made from the refund's id, which
-- nobody knows before: a client that knows the hold's id could use a key made from that one up, and the
-- hold could never be settled.
CREATE OR REPLACE FUNCTION public.try_settle_credits(
    p_hold_id text, p_used integer, p_overage boolean DEFAULT false, p_metadata jsonb DEFAULT NULL,
    p_end text DEFAULT 'settled',
    OUT verdict text, OUT balance integer, OUT id text, OUT held integer, OUT charged integer,
    OUT uncharged integer, OUT created_at timestamp
)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_hold record;
    v_refund_id text;
    v_refund_metadata jsonb;
    v_now timestamp := timezone('utc', now());
    v_account text;
    v_room bigint;
BEGIN
    IF (p_used >= 0 AND p_overage IS NOT NULL AND p_end IN ('settled', 'released', 'expired')
        AND (p_used = 0 OR p_end = 'settled')) IS NOT TRUE THEN
        RAISE EXCEPTION 'a hold is settled with 0 credits or more, got %', p_used
            USING ERRCODE = 'LC007';
    END IF;
    IF p_metadata IS NOT NULL THEN
        PERFORM public.check_credit_input('of the hold', 1, 'of the hold', NULL, p_metadata);
    END IF;

    -- The user before the account, as everybody locks them; the lock decides who ends the hold.
    SELECT t.*, a.credits, a.holds_expire_from INTO v_hold
    FROM public.credit_transactions t
    JOIN public.users u ON u.id = t.user_id
    JOIN public.user_credits a ON a.user_id = u.id
    WHERE t.id = p_hold_id AND t.payer = 'user'
    FOR KEY SHARE OF u FOR NO KEY UPDATE OF a;
    IF NOT FOUND THEN
        SELECT t.*, NULL::integer AS credits, NULL::timestamp AS holds_expire_from INTO v_hold
        FROM public.credit_transactions t WHERE t.id = p_hold_id;
        PERFORM FROM public.users u WHERE u.id = v_hold.user_id FOR KEY SHARE;
        IF NOT FOUND THEN
            -- The hold went with the user; one who signs up under this id meanwhile is not locked.
            verdict := 'unknown_hold';
            RETURN;
        END IF;
        PERFORM FROM public.teams t WHERE t.id = v_hold.team_id AND v_hold.payer = 'api_key'
        FOR KEY SHARE;
        SELECT s.balance, s.holds_expire_from INTO v_hold.credits, v_hold.holds_expire_from
        FROM public.lock_balance(
            v_hold.payer, CASE v_hold.payer WHEN 'team' THEN v_hold.team_id
                                            ELSE v_hold.api_key_id END) AS s;
    END IF;
    -- Not in the WHERE: while there are few holds, the planner would rather read the index of them all.
    IF (v_hold.amount < 0 AND v_hold.held_until IS NOT NULL) IS NOT TRUE THEN
        verdict := 'unknown_hold';
        RETURN;
    END IF;
    held := -v_hold.amount;
    balance := v_hold.credits;
    IF p_end = 'expired' AND v_hold.held_until > timezone('utc', clock_timestamp()) THEN
        verdict := 'hold_open';
        RETURN;
    END IF;
    IF balance IS NULL THEN
        verdict := 'unknown_account';
        RETURN;
    END IF;
    charged := least(p_used, held);
    uncharged := p_used - charged;
    IF uncharged > 0 AND p_overage
       OR p_end = 'settled' AND v_hold.holds_expire_from < v_now - interval '1 minute' THEN
        -- What it gives back may pay for the overage. Else it keeps holds_expire_from from falling behind:
        -- of very many that have ended, each settlement goes past some.
        v_account := coalesce(v_hold.api_key_id, v_hold.team_id, v_hold.user_id);
        PERFORM public.release_expired_credits(
            v_hold.payer, v_account, p_hold_id, CASE WHEN uncharged = 0 THEN 1000 END);
        SELECT s.balance INTO balance FROM public.credit_account_state(v_hold.payer, v_account) AS s;
    END IF;
    -- A new statement, so it sees what the last holder of the lock has written.
    IF uncharged > 0 AND NOT EXISTS (
        SELECT FROM public.credit_transactions r WHERE r.refund_of = p_hold_id)
    THEN
        IF NOT p_overage THEN
            verdict := 'above_hold';
            RETURN;
        END IF;
        v_room := balance;
        IF v_hold.payer = 'api_key' THEN
            SELECT least(balance, l.day_left, l.month_left) INTO v_room
            FROM public.api_key_allowance(v_hold.api_key_id) AS l;
        END IF;
        charged := charged + greatest(0, least(uncharged, v_room));
        uncharged := p_used - charged;
    END IF;

    -- Made under the lock, as the ids of all rows, so that the account's balances go by id.
    v_refund_id := public.uuid7_text();
    v_refund_metadata := jsonb_build_object('hold', p_end, 'used', p_used);
    IF v_hold.payer = 'user' THEN
        UPDATE public.user_credits a
        SET credits = a.credits + (held - charged), updated_at = v_now,
            -- The next to expire, if it was the first.
            holds_expire_from = CASE WHEN a.holds_expire_from < v_hold.held_until
                THEN a.holds_expire_from ELSE (
                    SELECT n.held_until FROM public.credit_transactions n
                    WHERE coalesce(n.api_key_id, n.team_id, n.user_id) = v_hold.user_id
                      AND n.held_until >= v_hold.held_until AND n.amount < 0 AND n.payer = 'user'
                      AND n.id <> p_hold_id
                    ORDER BY n.held_until LIMIT 1) END
        WHERE a.user_id = v_hold.user_id AND balance <= 2147483647 - held
          AND (SELECT r.id FROM public.credit_transactions r WHERE r.refund_of = p_hold_id LIMIT 1)
              IS NULL
        RETURNING a.credits INTO balance;
    ELSIF v_hold.payer = 'team' THEN
        UPDATE public.teams a
        SET credits = a.credits + (held - charged), updated_at = v_now,
            holds_expire_from = CASE WHEN a.holds_expire_from < v_hold.held_until
                THEN a.holds_expire_from ELSE (
                    SELECT n.held_until FROM public.credit_transactions n
                    WHERE coalesce(n.api_key_id, n.team_id, n.user_id) = v_hold.team_id
                      AND n.held_until >= v_hold.held_until AND n.amount < 0 AND n.payer = 'team'
                      AND n.id <> p_hold_id
                    ORDER BY n.held_until LIMIT 1) END
        WHERE a.id = v_hold.team_id AND balance <= 2147483647 - held
          AND (SELECT r.id FROM public.credit_transactions r WHERE r.refund_of = p_hold_id LIMIT 1)
              IS NULL
        RETURNING a.credits INTO balance;
    ELSE
        -- What was not used gives the allowance back, if it counted in the day and month that count
        -- now; what goes beyond the hold counts today.
        UPDATE public.api_key_credits a
        SET credits = a.credits + (held - charged), updated_at = v_now,
            holds_expire_from = CASE WHEN a.holds_expire_from < v_hold.held_until
                THEN a.holds_expire_from ELSE (
                    SELECT n.held_until FROM public.credit_transactions n
                    WHERE coalesce(n.api_key_id, n.team_id, n.user_id) = v_hold.api_key_id
                      AND n.held_until >= v_hold.held_until AND n.amount < 0 AND n.payer = 'api_key'
                      AND n.id <> p_hold_id
                    ORDER BY n.held_until LIMIT 1) END,
            spent_that_day = greatest(0,
                CASE WHEN charged <= held OR a.spent_on >= v_now::date
                     THEN a.spent_that_day ELSE 0 END
                + CASE WHEN charged > held OR v_hold.created_at >= a.spent_on
                       THEN charged - held ELSE 0 END),
            spent_that_month = greatest(0,
                CASE WHEN charged <= held OR a.spent_on >= date_trunc('month', v_now)
                     THEN a.spent_that_month ELSE 0 END
                + CASE WHEN charged > held OR v_hold.created_at >= date_trunc('month', a.spent_on)
                       THEN charged - held ELSE 0 END),
            spent_on = CASE WHEN charged > held THEN greatest(a.spent_on, v_now::date)
                            ELSE a.spent_on END
        WHERE a.api_key = v_hold.api_key_id AND balance <= 2147483647 - held
          AND (SELECT r.id FROM public.credit_transactions r WHERE r.refund_of = p_hold_id LIMIT 1)
              IS NULL
        RETURNING a.credits INTO balance;
    END IF;
    IF NOT FOUND THEN
        SELECT e.verdict, e.balance, e.id, e.charged, e.uncharged, e.created_at
        INTO verdict, balance, id, charged, uncharged, created_at
        FROM public.ended_credit_hold(p_hold_id, p_end, p_used) AS e;
        -- The refund is written first and has a balance too, which would not fit.
        verdict := coalesce(verdict, 'overflow');
        RETURN;
    END IF;

    id := v_refund_id;
    IF charged > 0 THEN
        id := public.uuid7_text();
        INSERT INTO public.credit_transactions
            (id, user_id, team_id, amount, type, operation, resource_id, api_key_id,
             transaction_metadata, payer, balance_after, idempotency_key, refund_of, held_until)
        VALUES
            (v_refund_id, v_hold.user_id, v_hold.team_id, held, 'refund', v_hold.operation,
             v_hold.resource_id, v_hold.api_key_id, v_refund_metadata, v_hold.payer,
             balance + charged, NULL, p_hold_id, v_hold.held_until),
            (id, v_hold.user_id, v_hold.team_id, -charged, 'usage', v_hold.operation,
             v_hold.resource_id, v_hold.api_key_id,
             coalesce(p_metadata, v_hold.transaction_metadata), v_hold.payer, balance,
             'settled by ' || v_refund_id, NULL, NULL);
    ELSE
        INSERT INTO public.credit_transactions
            (id, user_id, team_id, amount, type, operation, resource_id, api_key_id,
             transaction_metadata, payer, balance_after, refund_of, held_until)
        VALUES
            (v_refund_id, v_hold.user_id, v_hold.team_id, held, 'refund', v_hold.operation,
             v_hold.resource_id, v_hold.api_key_id, v_refund_metadata, v_hold.payer, balance,
             p_hold_id, v_hold.held_until);
        id := CASE WHEN p_end <> 'settled' THEN v_refund_id END;
    END IF;
    -- As the column's default.
    created_at := v_now;
    verdict := 'done';
END
$$;

REVOKE EXECUTE ON FUNCTION public.try_settle_credits FROM PUBLIC;
