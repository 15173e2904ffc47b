-- Thousands of consumes in one statement. p_items is a JSON array of objects with the parameters of
-- consume_credits without the p_: user_id, amount, operation, resource_id, team_id, api_key,
-- metadata, idempotency_key. One row comes back for each, by its place from 1: a verdict of
-- try_consume_credits, or 'invalid' for no user or an amount that is none.
--
-- Items of one account are decided in their order; one that does not fit is refused and the next
-- may still fit. An idempotency key used twice in a batch is one request: done once, then replayed.
-- Accounts are locked in the order of their keys (users, teams, API keys), so that batches never
-- deadlock with each other; then everything is decided in memory and written with one UPDATE of
-- each kind of account and one INSERT. Where users pay for themselves, without keys, and have enough
-- for all of it, which is what most batches are, it is decided by running sums; else one item after
-- the other. What can be is worked out before the locks and not while others wait: those sums, and of
-- the ids (uuid7_text() in two halves) the random one. The clock comes after them, counted up by
-- place, because an account's ids are in the order of its balances.
CREATE OR REPLACE FUNCTION public.consume_credits_many(p_items jsonb)
RETURNS TABLE (
    place integer, verdict text, balance integer, id text, team_id text, created_at timestamp
)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_count integer := jsonb_array_length(p_items);
    v_now timestamp := timezone('utc', now());
    v_today date := v_now::date;
    v_month date := date_trunc('month', v_now)::date;
    -- By place.
    v_verdicts text[]; v_balances integer[]; v_ids text[]; v_teams text[]; v_times timestamp[];
    v_randoms text[] := ARRAY(
        SELECT substr(gen_random_uuid()::text, 19) FROM generate_series(1, v_count));
    v_clock bigint;
    v_new_ids text[];
    -- Whether each item is an amount that users pay themselves, without a key. Then by place: which
    -- of v_accounts pays it, and what the batch takes from that one up to it.
    v_plain boolean; v_payers_at integer[]; v_taken bigint[];
    v_paying_users text[]; v_paying_teams text[]; v_paying_keys text[]; v_amounts bigint[];
    -- The users' accounts that are there, locked.
    v_users text[]; v_credits integer[];
    -- What is taken, by account.
    v_payers text[] := '{}'; v_accounts text[] := '{}'; v_totals bigint[] := '{}';
    -- The account at hand.
    v_last integer := 0;
    v_balance bigint; v_day_left bigint; v_month_left bigint;
    v_repeats jsonb := '[]';
    v_item record;
BEGIN
    -- Rows of a function come in their order.
    SELECT bool_and(i.team_id IS NULL AND i.api_key IS NULL AND i.idempotency_key IS NULL
                    AND i.amount IS NOT NULL AND i.amount BETWEEN 1 AND 2147483647),
           array_agg(i.user_id) FILTER (WHERE i.team_id IS NULL AND i.api_key IS NULL),
           array_agg(i.team_id) FILTER (WHERE i.team_id IS NOT NULL AND i.api_key IS NULL),
           array_agg(i.api_key) FILTER (WHERE i.api_key IS NOT NULL),
           array_agg(i.amount)
    INTO v_plain, v_paying_users, v_paying_teams, v_paying_keys, v_amounts
    FROM jsonb_to_recordset(p_items)
        AS i (user_id text, amount bigint, team_id text, api_key text, idempotency_key text);
    IF v_plain THEN
        SELECT array_agg(i.account_number ORDER BY i.place), array_agg(i.taken ORDER BY i.place)
        INTO v_payers_at, v_taken
        FROM (
            SELECT i.place, dense_rank() OVER (ORDER BY i.user_id) AS account_number,
                   sum(i.amount::integer) OVER (
                       PARTITION BY i.user_id ORDER BY i.place ROWS UNBOUNDED PRECEDING) AS taken
            FROM unnest(v_paying_users, v_amounts) WITH ORDINALITY AS i (user_id, amount, place)
        ) AS i;
        SELECT array_agg('user'::text), array_agg(s.user_id ORDER BY s.user_id),
               array_agg(s.total ORDER BY s.user_id)
        INTO v_payers, v_accounts, v_totals
        FROM (
            SELECT i.user_id, sum(i.amount::integer) AS total
            FROM unnest(v_paying_users, v_amounts) AS i (user_id, amount)
            GROUP BY i.user_id
        ) AS s;
    END IF;
    SELECT array_agg(locked.user_id), array_agg(locked.credits) INTO v_users, v_credits
    FROM (
        SELECT a.user_id, a.credits FROM public.user_credits a
        WHERE a.user_id = ANY (v_paying_users)
        ORDER BY a.user_id FOR NO KEY UPDATE) AS locked;
    IF v_paying_teams IS NOT NULL THEN
        PERFORM FROM public.teams a WHERE a.id = ANY (v_paying_teams)
        ORDER BY a.id FOR NO KEY UPDATE;
    END IF;
    IF v_paying_keys IS NOT NULL THEN
        PERFORM FROM public.api_key_credits a WHERE a.api_key = ANY (v_paying_keys)
        ORDER BY a.api_key FOR NO KEY UPDATE;
    END IF;

    v_clock := (date_part('epoch', clock_timestamp()) * 4096000)::bigint;
    v_new_ids := ARRAY(
        SELECT overlay(overlay(lpad(to_hex(v_clock + r.place), 15, '0'), '-7', 13, 0), '-', 9, 0)
               || r.random
        FROM unnest(v_randoms) WITH ORDINALITY AS r (random, place) ORDER BY r.place);
    -- Every account is there, and has enough for all that is taken from it.
    v_plain := v_plain AND v_users = v_accounts AND (
        SELECT bool_and(a.credits >= a.total) FROM unnest(v_credits, v_totals) AS a (credits, total));
    IF v_plain THEN
        v_verdicts := array_fill('done'::text, ARRAY[v_count]);
        v_ids := v_new_ids;
        v_teams := array_fill(NULL::text, ARRAY[v_count]);
        v_times := array_fill(v_now, ARRAY[v_count]);
        v_balances := ARRAY(
            SELECT v_credits[i.account_number] - i.taken
            FROM unnest(v_payers_at, v_taken) WITH ORDINALITY AS i (account_number, taken, place)
            ORDER BY i.place);
    ELSE
        v_payers := '{}'; v_accounts := '{}'; v_totals := '{}';
        v_verdicts := array_fill(NULL::text, ARRAY[v_count]);
        v_balances := array_fill(NULL::integer, ARRAY[v_count]);
        v_ids := array_fill(NULL::text, ARRAY[v_count]);
        v_teams := array_fill(NULL::text, ARRAY[v_count]);
        v_times := array_fill(NULL::timestamp, ARRAY[v_count]);
        FOR v_item IN
            WITH items AS (
                SELECT i.*, coalesce(i.api_key, i.team_id, i.user_id) AS account,
                       CASE WHEN i.api_key IS NOT NULL THEN 'api_key'
                            WHEN i.team_id IS NOT NULL THEN 'team' ELSE 'user' END AS payer
                FROM ROWS FROM (jsonb_to_recordset(p_items) AS (
                    user_id text, amount bigint, operation text, team_id text, api_key text,
                    idempotency_key text
                )) WITH ORDINALITY
                AS i (user_id, amount, operation, team_id, api_key, idempotency_key, place)
            ), requests AS (
                SELECT i.*,
                       i.idempotency_key IS NOT NULL AND row_number() OVER (
                           PARTITION BY i.user_id, i.idempotency_key ORDER BY i.place
                       ) > 1 AS repeats,
                       first_value(i.place) OVER same_key AS first_place,
                       ARRAY[i.amount::text, i.payer, i.account, i.operation]
                       IS NOT DISTINCT FROM
                       first_value(ARRAY[i.amount::text, i.payer, i.account, i.operation])
                           OVER same_key AS same_request,
                       dense_rank() OVER (ORDER BY i.payer, i.account) AS account_number
                FROM items i
                WINDOW same_key AS (PARTITION BY i.user_id, i.idempotency_key ORDER BY i.place)
            )
            SELECT i.*,
                   coalesce(u.credits, t.credits, k.credits) AS opening,
                   k.daily_limit
                   - CASE WHEN k.spent_on >= v_today THEN k.spent_that_day ELSE 0 END AS day_left,
                   k.monthly_limit
                   - CASE WHEN k.spent_on >= v_month THEN k.spent_that_month ELSE 0 END
                   AS month_left,
                   coalesce(t.id, k.team_id) AS pays_for_team,
                   e.id AS earlier_id, e.balance_after AS earlier_balance,
                   e.created_at AS earlier_time, e.team_id AS earlier_team,
                   CASE WHEN e.id IS NOT NULL THEN public.credit_replay_verdict(
                       e, 'usage', -i.amount::integer, i.operation, i.payer, i.team_id, i.api_key)
                   END AS earlier_verdict
            FROM requests i
            LEFT JOIN unnest(v_users, v_credits) AS u (user_id, credits)
                 ON i.payer = 'user' AND u.user_id = i.user_id
            LEFT JOIN public.teams t ON i.payer = 'team' AND t.id = i.team_id
                 AND (t.owner_id = i.user_id OR EXISTS (
                     SELECT FROM public.user_credits m
                     WHERE m.user_id = i.user_id AND m.team_id = t.id))
            LEFT JOIN public.api_key_credits k ON i.payer = 'api_key' AND k.api_key = i.api_key
                 AND k.user_id = i.user_id AND (i.team_id IS NULL OR k.team_id = i.team_id)
            -- With LIMIT each key is looked up in the index, whatever the planner knows of the
            -- account: a join by user alone would read all that it ever spent with a key, for each
            -- item.
            LEFT JOIN LATERAL (
                 SELECT * FROM public.credit_transactions h
                 WHERE h.user_id = i.user_id AND h.idempotency_key = i.idempotency_key
                   AND i.amount BETWEEN 1 AND 2147483647
                 LIMIT 1) e ON true
            ORDER BY i.account_number, i.place
        LOOP
            IF v_item.account_number <> v_last THEN
                v_last := v_item.account_number;
                v_balance := NULL;
            END IF;
            IF v_item.user_id IS NULL OR v_item.amount IS NULL
               OR v_item.amount NOT BETWEEN 1 AND 2147483647 THEN
                v_verdicts[v_item.place] := 'invalid';
            ELSIF v_item.earlier_id IS NOT NULL THEN
                v_verdicts[v_item.place] := v_item.earlier_verdict;
                v_balances[v_item.place] := v_item.earlier_balance;
                v_ids[v_item.place] := v_item.earlier_id;
                v_times[v_item.place] := v_item.earlier_time;
                v_teams[v_item.place] := v_item.earlier_team;
            ELSIF v_item.repeats THEN
                v_verdicts[v_item.place] := 'key_reused';
                IF v_item.same_request THEN
                    v_repeats := v_repeats || jsonb_build_array(
                        jsonb_build_array(v_item.place, v_item.first_place));
                END IF;
            ELSIF v_item.opening IS NULL THEN
                v_verdicts[v_item.place] := 'unknown_account';
            ELSE
                IF v_balance IS NULL THEN
                    v_balance := v_item.opening;
                    v_day_left := v_item.day_left;
                    v_month_left := v_item.month_left;
                    v_payers := v_payers || v_item.payer;
                    v_accounts := v_accounts || v_item.account;
                    v_totals := v_totals || 0::bigint;
                END IF;
                v_balances[v_item.place] := v_balance;
                IF v_month_left < v_item.amount THEN
                    v_verdicts[v_item.place] := 'monthly_limit';
                    v_balances[v_item.place] := greatest(0, v_month_left);
                ELSIF v_day_left < v_item.amount THEN
                    v_verdicts[v_item.place] := 'daily_limit';
                    v_balances[v_item.place] := greatest(0, v_day_left);
                ELSIF v_balance < v_item.amount THEN
                    v_verdicts[v_item.place] := 'insufficient';
                ELSE
                    v_balance := v_balance - v_item.amount;
                    v_day_left := v_day_left - v_item.amount;
                    v_month_left := v_month_left - v_item.amount;
                    v_totals[cardinality(v_totals)] :=
                        v_totals[cardinality(v_totals)] + v_item.amount;
                    v_verdicts[v_item.place] := 'done';
                    v_balances[v_item.place] := v_balance;
                    v_ids[v_item.place] := v_new_ids[v_item.place];
                    v_times[v_item.place] := v_now;
                    v_teams[v_item.place] := v_item.pays_for_team;
                END IF;
            END IF;
        END LOOP;
        FOR v_item IN
            SELECT (r.pair ->> 0)::integer AS place, (r.pair ->> 1)::integer AS first_place
            FROM jsonb_array_elements(v_repeats) AS r (pair)
        LOOP
            v_verdicts[v_item.place] := CASE v_verdicts[v_item.first_place]
                WHEN 'done' THEN 'replayed' ELSE v_verdicts[v_item.first_place] END;
            v_balances[v_item.place] := v_balances[v_item.first_place];
            v_ids[v_item.place] := v_ids[v_item.first_place];
            v_times[v_item.place] := v_times[v_item.first_place];
            v_teams[v_item.place] := v_teams[v_item.first_place];
        END LOOP;
    END IF;

    UPDATE public.user_credits a SET credits = a.credits - s.total, updated_at = v_now
    FROM unnest(v_payers, v_accounts, v_totals) AS s (payer, account, total)
    WHERE s.payer = 'user' AND s.total > 0 AND a.user_id = s.account;
    UPDATE public.teams a SET credits = a.credits - s.total, updated_at = v_now
    FROM unnest(v_payers, v_accounts, v_totals) AS s (payer, account, total)
    WHERE s.payer = 'team' AND s.total > 0 AND a.id = s.account;
    UPDATE public.api_key_credits a
    SET credits = a.credits - s.total,
        spent_that_day = s.total + CASE WHEN a.spent_on >= v_today THEN a.spent_that_day ELSE 0 END,
        spent_that_month = s.total
            + CASE WHEN a.spent_on >= v_month THEN a.spent_that_month ELSE 0 END,
        spent_on = greatest(a.spent_on, v_today), updated_at = v_now
    FROM unnest(v_payers, v_accounts, v_totals) AS s (payer, account, total)
    WHERE s.payer = 'api_key' AND s.total > 0 AND a.api_key = s.account;
    INSERT INTO public.credit_transactions
        (id, user_id, team_id, amount, type, operation, resource_id, api_key_id,
         transaction_metadata, payer, balance_after, idempotency_key)
    SELECT i.id, i.user_id, i.pool_team, -i.amount, 'usage', i.operation, i.resource_id, i.api_key,
           i.metadata,
           CASE WHEN i.api_key IS NOT NULL THEN 'api_key' WHEN i.team_id IS NOT NULL THEN 'team'
                ELSE 'user' END,
           i.balance, i.idempotency_key
    FROM ROWS FROM (
        jsonb_to_recordset(p_items) AS (
            user_id text, amount bigint, operation text, resource_id text, team_id text,
            api_key text, metadata jsonb, idempotency_key text),
        unnest(v_verdicts), unnest(v_ids), unnest(v_teams), unnest(v_balances)
    ) AS i (user_id, amount, operation, resource_id, team_id, api_key, metadata, idempotency_key,
            verdict, id, pool_team, balance)
    WHERE i.verdict = 'done';

    RETURN QUERY
    SELECT i.place::integer, i.verdict, i.balance, i.id, i.pool_team, i.created_at
    FROM unnest(v_verdicts, v_balances, v_ids, v_teams, v_times)
         WITH ORDINALITY AS i (verdict, balance, id, pool_team, created_at, place)
    ORDER BY i.place;
END
$$;
