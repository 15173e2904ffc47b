-- Thousands of consumes in one statement. p_items is a JSON array of objects with the parameters of
-- consume_credits without the p_: user_id, amount, operation, resource_id, team_id, api_key,
-- metadata, idempotency_key. One row comes back for each, by its place from 1: a verdict of
-- try_consume_credits, or 'invalid' for what that refuses as an argument and for what is no object.
--
-- Items of one account are decided in their order; one that does not fit is refused and the next may
-- still fit. An idempotency key used twice in a batch is one request: done once, then replayed.
-- Users are locked first, then accounts, each in the order of their keys (users, teams, API keys), so
-- that batches deadlock neither with each other nor with a user's deletion. Then one statement decides
-- every item and writes everything. An account with enough for all of its items needs no more than
-- running sums; credits_taken_before goes through the items of the others.
CREATE OR REPLACE FUNCTION public.consume_credits_many(p_items jsonb)
RETURNS TABLE (
    place integer, verdict text, balance integer, id text, team_id text, created_at timestamp
)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_now timestamp := timezone('utc', now());
    v_today date := v_now::date;
    v_month date := date_trunc('month', v_now)::date;
    v_spenders text[]; v_keyed boolean; v_users text[]; v_teams text[]; v_keys text[];
    v_pools text[];
    v_clock bigint;
    -- Holds expire by the clock, also within a transaction.
    v_clock_now timestamp := timezone('utc', clock_timestamp());
    v_expired boolean;
BEGIN
    IF jsonb_typeof(p_items) IS DISTINCT FROM 'array' THEN
        RAISE EXCEPTION 'a batch is a JSON array, got %', coalesce(jsonb_typeof(p_items), 'NULL')
            USING ERRCODE = 'LC007';
    END IF;
    IF EXISTS (SELECT FROM jsonb_array_elements(p_items) AS e (item)
               WHERE jsonb_typeof(e.item) <> 'object') THEN
        p_items := (
            SELECT jsonb_agg(CASE WHEN jsonb_typeof(e.item) = 'object' THEN e.item ELSE '{}' END
                             ORDER BY e.place)
            FROM jsonb_array_elements(p_items) WITH ORDINALITY AS e (item, place));
    END IF;
    SELECT array_agg(i.user_id), bool_or(i.idempotency_key IS NOT NULL),
           array_agg(i.user_id) FILTER (WHERE i.team_id IS NULL AND i.api_key IS NULL),
           array_agg(i.team_id) FILTER (WHERE i.team_id IS NOT NULL AND i.api_key IS NULL),
           array_agg(i.api_key) FILTER (WHERE i.api_key IS NOT NULL)
    INTO v_spenders, v_keyed, v_users, v_teams, v_keys
    FROM jsonb_to_recordset(p_items) AS i (
        user_id text, team_id text, api_key text, idempotency_key text);
    -- Each row is locked once, with the strongest lock that it needs: whoever waits for another to let go
    -- may stand before a lock that is made stronger. Only what was locked counts. A user who is signed up
    -- after this, under an id that was free, would be locked after the account by the row's foreign key.
    IF v_keyed THEN
        -- Two calls may have the same key.
        SELECT array_agg(l.id) INTO v_spenders
        FROM (SELECT u.id FROM public.users u
              WHERE u.id = ANY (v_spenders) ORDER BY u.id FOR NO KEY UPDATE) AS l;
    ELSE
        SELECT array_agg(l.id) INTO v_spenders
        FROM (SELECT u.id FROM public.users u
              WHERE u.id = ANY (v_spenders) ORDER BY u.id FOR KEY SHARE) AS l;
    END IF;
    IF v_users IS NOT NULL THEN
        SELECT array_agg(l.user_id), bool_or(l.holds_expire_from <= v_clock_now)
        INTO v_users, v_expired
        FROM (SELECT a.user_id, a.holds_expire_from FROM public.user_credits a
              WHERE a.user_id = ANY (v_users) AND a.user_id = ANY (v_spenders)
              ORDER BY a.user_id FOR NO KEY UPDATE) AS l;
    END IF;
    IF v_teams IS NOT NULL THEN
        SELECT array_agg(l.id), array_agg(l.id) FILTER (WHERE l.pays),
               coalesce(v_expired, false)
               OR bool_or(l.holds_expire_from <= v_clock_now) FILTER (WHERE l.pays)
        INTO v_pools, v_teams, v_expired
        FROM (SELECT a.id, a.holds_expire_from, a.id = ANY (v_teams) AS pays FROM public.teams a
              WHERE a.id = ANY (v_teams) OR a.id IN (
                  SELECT k.team_id FROM public.api_key_credits k WHERE k.api_key = ANY (v_keys))
              ORDER BY a.id FOR NO KEY UPDATE) AS l;
    ELSIF v_keys IS NOT NULL THEN
        SELECT array_agg(l.id) INTO v_pools
        FROM (SELECT a.id FROM public.teams a
              WHERE a.id IN (
                  SELECT k.team_id FROM public.api_key_credits k WHERE k.api_key = ANY (v_keys))
              ORDER BY a.id FOR KEY SHARE) AS l;
    END IF;
    IF v_keys IS NOT NULL THEN
        SELECT array_agg(l.api_key),
               coalesce(v_expired, false) OR bool_or(l.holds_expire_from <= v_clock_now)
        INTO v_keys, v_expired
        FROM (SELECT a.api_key, a.holds_expire_from FROM public.api_key_credits a
              WHERE a.api_key = ANY (v_keys) AND (a.team_id IS NULL OR a.team_id = ANY (v_pools))
              ORDER BY a.api_key FOR NO KEY UPDATE) AS l;
    END IF;
    IF v_expired THEN
        PERFORM public.release_expired_credits('user', a) FROM unnest(v_users) AS a;
        PERFORM public.release_expired_credits('team', a) FROM unnest(v_teams) AS a;
        PERFORM public.release_expired_credits('api_key', a) FROM unnest(v_keys) AS a;
    END IF;

    -- Ids are uuid7_text()'s, with a clock that was read under the locks and counts up by place: an
    -- account's ids are in the order of its balances.
    v_clock := (date_part('epoch', clock_timestamp()) * 4096000)::bigint;
    RETURN QUERY
    WITH items AS MATERIALIZED (
        SELECT i.place, i.user_id, n.amount, i.operation, i.resource_id, i.team_id, i.api_key,
               i.metadata, i.idempotency_key, coalesce(i.api_key, i.team_id, i.user_id) AS account,
               CASE WHEN i.api_key IS NOT NULL THEN 'api_key'
                    WHEN i.team_id IS NOT NULL THEN 'team' ELSE 'user' END AS payer,
               -- The same as in credit_input_problem, for thousands.
               coalesce(
                   n.amount BETWEEN 1 AND 2147483647 AND i.user_id > '' AND i.operation > ''
                   AND (i.idempotency_key IS NULL OR length(i.idempotency_key) BETWEEN 1 AND 255)
                   AND (i.metadata IS NULL OR pg_column_size(i.metadata) <= 2700
                        OR octet_length(i.metadata::text) <= 16384), false) AS valid
        FROM ROWS FROM (jsonb_to_recordset(p_items) AS (
            user_id text, amount text, operation text, resource_id text, team_id text,
            api_key text, metadata jsonb, idempotency_key text
        )) WITH ORDINALITY AS i (
            user_id, amount, operation, resource_id, team_id, api_key, metadata, idempotency_key,
            place),
        LATERAL (SELECT CASE WHEN length(i.amount) <= 10 AND i.amount > ''
                                  AND translate(i.amount, '0123456789', '') = ''
                             THEN i.amount::bigint END AS amount) AS n
    ), keyed AS (
        SELECT i.place,
               first_value(i.place) OVER same_key AS first_place,
               ARRAY[i.amount::text, i.payer, i.account, i.operation]
               IS NOT DISTINCT FROM
               first_value(ARRAY[i.amount::text, i.payer, i.account, i.operation]) OVER same_key
                   AS same_request,
               e.id, e.balance_after, e.created_at, e.team_id,
               CASE WHEN e.id IS NOT NULL THEN public.credit_replay_verdict(
                   e, 'usage', -i.amount::integer, i.operation, i.payer, i.team_id, i.api_key)
               END AS verdict
        FROM items i
        -- With LIMIT each key is looked up in the index, whatever the planner knows of the account: a
        -- join by user alone would read all that it ever spent with a key, for each item.
        LEFT JOIN LATERAL (
            SELECT * FROM public.credit_transactions h
            WHERE h.user_id = i.user_id AND h.idempotency_key = i.idempotency_key AND i.valid
            LIMIT 1) e ON true
        WHERE i.idempotency_key IS NOT NULL AND i.valid
        WINDOW same_key AS (PARTITION BY i.user_id, i.idempotency_key ORDER BY i.place)
    ), known AS MATERIALIZED (
        -- With the verdict that needs no look at the balance, or none yet.
        SELECT i.*,
               CASE WHEN NOT i.valid THEN 'invalid'
                    WHEN e.verdict IS NOT NULL THEN e.verdict
                    WHEN e.first_place < i.place AND e.same_request THEN 'repeated'
                    WHEN e.first_place < i.place THEN 'key_reused'
                    WHEN s.id IS NULL OR coalesce(u.credits, t.credits, k.credits) IS NULL
                        THEN 'unknown_account'
               END AS verdict,
               e.first_place,
               e.id AS earlier_id, e.balance_after AS earlier_balance,
               e.created_at AS earlier_time, e.team_id AS earlier_team,
               coalesce(u.credits, t.credits, k.credits)::bigint AS opening,
               k.daily_limit - CASE WHEN k.spent_on >= v_today THEN k.spent_that_day ELSE 0 END
                   AS day_left,
               k.monthly_limit - CASE WHEN k.spent_on >= v_month THEN k.spent_that_month ELSE 0 END
                   AS month_left,
               coalesce(t.id, k.team_id) AS pool_team
        FROM items i
        LEFT JOIN keyed e ON e.place = i.place
        LEFT JOIN unnest(v_spenders) AS s (id) ON s.id = i.user_id
        LEFT JOIN unnest(v_users) AS lu (id) ON i.payer = 'user' AND lu.id = i.user_id
        LEFT JOIN public.user_credits u ON u.user_id = lu.id
        LEFT JOIN unnest(v_teams) AS lt (id) ON i.payer = 'team' AND lt.id = i.team_id
        LEFT JOIN public.teams t ON t.id = lt.id
             AND (t.owner_id = i.user_id OR EXISTS (
                 SELECT FROM public.user_credits m
                 WHERE m.user_id = i.user_id AND m.team_id = t.id))
        LEFT JOIN unnest(v_keys) AS lk (id) ON i.payer = 'api_key' AND lk.id = i.api_key
        LEFT JOIN public.api_key_credits k ON k.api_key = lk.id
             AND k.user_id = i.user_id AND (i.team_id IS NULL OR k.team_id = i.team_id)
    ), asked AS (
        SELECT i.place, i.payer, i.account, i.amount,
               least(i.opening, i.day_left, i.month_left) AS room,
               sum(i.amount::integer) OVER (
                   account ORDER BY i.place ROWS UNBOUNDED PRECEDING) - i.amount AS before,
               sum(i.amount::integer) OVER account AS total
        FROM known i
        WHERE i.verdict IS NULL
        WINDOW account AS (PARTITION BY i.payer, i.account)
    ), taken AS (
        SELECT a.place, a.before FROM asked a WHERE a.total <= a.room
        UNION ALL
        SELECT unnest(s.places), unnest(public.credits_taken_before(s.room, s.amounts))
        FROM (
            SELECT a.room, array_agg(a.place ORDER BY a.place) AS places,
                   array_agg(a.amount ORDER BY a.place) AS amounts
            FROM asked a WHERE a.total > a.room
            GROUP BY a.payer, a.account, a.room
        ) AS s
    ), weighed AS (
        SELECT i.*, i.opening - t.before AS balance_left, i.day_left - t.before AS left_today,
               i.month_left - t.before AS left_this_month
        FROM known i LEFT JOIN taken t ON t.place = i.place
    ), decided AS MATERIALIZED (
        SELECT w.place, w.user_id, w.amount, w.operation, w.resource_id, w.api_key, w.metadata,
               w.idempotency_key, w.payer, w.account, w.first_place, d.verdict,
               CASE d.verdict
                   WHEN 'done' THEN w.balance_left - w.amount
                   WHEN 'insufficient' THEN w.balance_left
                   WHEN 'daily_limit' THEN greatest(0, w.left_today)
                   WHEN 'monthly_limit' THEN greatest(0, w.left_this_month)
                   ELSE w.earlier_balance END AS balance,
               CASE d.verdict WHEN 'done' THEN
                   overlay(overlay(lpad(to_hex(v_clock + w.place), 15, '0'), '-7', 13, 0), '-', 9, 0)
                   || substr(gen_random_uuid()::text, 19)
                   ELSE w.earlier_id END AS id,
               CASE d.verdict WHEN 'done' THEN v_now ELSE w.earlier_time END AS created_at,
               CASE d.verdict WHEN 'done' THEN w.pool_team ELSE w.earlier_team END AS team_id
        FROM weighed w, LATERAL (
            SELECT CASE WHEN w.verdict IS NOT NULL THEN w.verdict
                        WHEN w.left_this_month < w.amount THEN 'monthly_limit'
                        WHEN w.left_today < w.amount THEN 'daily_limit'
                        WHEN w.balance_left < w.amount THEN 'insufficient'
                        ELSE 'done' END AS verdict
        ) AS d
    ), paid AS (
        SELECT d.payer, d.account, sum(d.amount::integer) AS total
        FROM decided d WHERE d.verdict = 'done' GROUP BY d.payer, d.account
    ), users AS (
        UPDATE public.user_credits a SET credits = a.credits - p.total, updated_at = v_now
        FROM paid p WHERE p.payer = 'user' AND a.user_id = p.account
    ), teams AS (
        UPDATE public.teams a SET credits = a.credits - p.total, updated_at = v_now
        FROM paid p WHERE p.payer = 'team' AND a.id = p.account
    ), api_keys AS (
        UPDATE public.api_key_credits a
        SET credits = a.credits - p.total,
            spent_that_day = p.total
                + CASE WHEN a.spent_on >= v_today THEN a.spent_that_day ELSE 0 END,
            spent_that_month = p.total
                + CASE WHEN a.spent_on >= v_month THEN a.spent_that_month ELSE 0 END,
            spent_on = greatest(a.spent_on, v_today), updated_at = v_now
        FROM paid p WHERE p.payer = 'api_key' AND a.api_key = p.account
    ), written AS (
        INSERT INTO public.credit_transactions
            (id, user_id, team_id, amount, type, operation, resource_id, api_key_id,
             transaction_metadata, payer, balance_after, idempotency_key)
        SELECT d.id, d.user_id, d.team_id, -d.amount, 'usage', d.operation, d.resource_id, d.api_key,
               d.metadata, d.payer, d.balance, d.idempotency_key
        FROM decided d WHERE d.verdict = 'done'
    )
    SELECT d.place::integer,
           CASE WHEN d.verdict <> 'repeated' THEN d.verdict
                WHEN f.verdict = 'done' THEN 'replayed' ELSE f.verdict END,
           coalesce(f.balance, d.balance)::integer, coalesce(f.id, d.id),
           coalesce(f.team_id, d.team_id), coalesce(f.created_at, d.created_at)
    FROM decided d
    LEFT JOIN decided f ON d.verdict = 'repeated' AND f.place = d.first_place
    ORDER BY d.place;
EXCEPTION WHEN unique_violation THEN
    PERFORM public.raise_key_conflict();
END
$$;

REVOKE EXECUTE ON FUNCTION public.consume_credits_many FROM PUBLIC;
