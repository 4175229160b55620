-- A year of books: %(holds)s holds of 200 organizations, the first of which has every fifth.
-- 19 of 20 are captured; every third organization but the first pays by credit, the others by a subscription,
-- and all before this month is on invoices, which are paid.
SET session_replication_role = replica;  -- no triggers, no foreign keys
CREATE TEMP TABLE size AS
    SELECT id, size, amount_micros, (row_number() OVER (ORDER BY amount_micros) - 1) AS number
    FROM billing_price WHERE model = 'flux-1-schnell' ORDER BY amount_micros LIMIT 3;
INSERT INTO accounts_organization (id, name, limits_lifted, created_at)
    SELECT id, 'Organization ' || id, true, now() - interval '1 year'
    FROM generate_series(2, 200) AS id ON CONFLICT DO NOTHING;

INSERT INTO billing_hold (id, organization_id, payer, price_id, amount_micros, month, reserved_micros, cap_micros,
        state, created_at, ended_at)
    SELECT n, organization, payer, size.id, size.amount_micros, date_trunc('month', at AT TIME ZONE 'UTC')::date,
        size.amount_micros, CASE payer WHEN 'credit' THEN 1000000000000 END,
        CASE n %% 20 WHEN 0 THEN 'released' ELSE 'captured' END, at, at + interval '3 seconds'
    FROM (
        SELECT n, now() - interval '1 hour' - interval '365 days' * (1 - n::float / %(holds)s) AS at, organization,
            CASE WHEN organization > 1 AND organization %% 3 = 0 THEN 'credit' ELSE 'subscription' END AS payer
        FROM (
            SELECT n, CASE n %% 5 WHEN 0 THEN 1 ELSE 2 + (n::bigint * 7919 %% 199) END AS organization
            FROM generate_series(1, %(holds)s) AS n
        ) AS of_whom
    ) AS when_and_how
    JOIN size ON size.number = n %% 3;
INSERT INTO images_generation (id, organization_id, hold_id, request_id, model, prompt, size, seed, response_format,
        body_digest, retry_joined, status, attempt, worker, error_code, engine, created_at, deadline_at, started_at,
        drawn_at, ended_at)
    SELECT 'gen_' || lpad(hold.id::text, 22, '0'), organization_id, hold.id, 'req_' || hold.id, 'flux-1-schnell',
        repeat('a red fox in the snow ', 5), size.size, 1, 'b64_json', '', 0,
        CASE state WHEN 'captured' THEN 'succeeded' ELSE 'failed' END, 1, 'gpu1', '', 'blank', hold.created_at,
        hold.created_at + interval '90 seconds', hold.created_at, ended_at, ended_at
    FROM billing_hold AS hold JOIN size ON size.id = price_id;
INSERT INTO images_image (generation_id, token, storage_key, sha256, byte_count, created_at, expires_at)
    SELECT id, lpad(hold_id::text, 32, '0'), 'images/' || id, repeat('0', 64), 100000, ended_at,
        ended_at + interval '1 day'
    FROM images_generation WHERE status = 'succeeded';
INSERT INTO billing_ledgerentry (organization_id, kind, debit, credit, amount_micros, hold_id, reason, created_at)
    SELECT organization_id, 'capture', CASE payer WHEN 'credit' THEN 'customer_credit' ELSE 'receivable' END,
        'revenue', amount_micros, id, '', ended_at
    FROM billing_hold WHERE state = 'captured';
INSERT INTO billing_usagehour (organization_id, hour, key, price_id, payer, images, micros)
    SELECT organization_id, date_trunc('hour', ended_at), 0, price_id, payer, count(*), sum(amount_micros)
    FROM billing_hold WHERE state = 'captured' GROUP BY 1, 2, 3, 4, 5;

-- Invoices of each month that is over, with a line for each size.
INSERT INTO billing_invoice (tries, not_before, note, organization_id, kind, reference, stripe_id, customer_id,
        subscription_id, number, status, created_at, period_start, period_end, held, finalized_at, done_at,
        total_cents, tax_cents, other_cents, due_cents, paid_cents)
    SELECT 1, month, '', organization_id, 'period', gen_random_uuid(), 'in_' || organization_id || '_' || month,
        'cus_' || organization_id, 'sub_' || organization_id, '', 'paid', month + interval '1 month', month,
        month + interval '1 month', true, month + interval '32 days', month + interval '32 days', 0, 0, 0, 0, 0
    FROM (SELECT DISTINCT organization_id, month FROM billing_hold WHERE state = 'captured' AND payer = 'subscription'
        AND month < date_trunc('month', now() AT TIME ZONE 'UTC')) AS billed;
INSERT INTO billing_invoiceline (invoice_id, price_id, quantity, claimed_cents, carried_cents, stripe_quantity,
        stripe_cents, correction_cents)
    SELECT invoice.id, price_id, count(*), floor((sum(amount_micros) + 5000) / 10000), 0, count(*),
        floor((sum(amount_micros) + 5000) / 10000), 0
    FROM billing_invoice AS invoice JOIN billing_hold AS hold
        ON hold.organization_id = invoice.organization_id AND hold.month = (invoice.period_start AT TIME ZONE 'UTC')::date
    WHERE state = 'captured' AND payer = 'subscription' GROUP BY invoice.id, price_id;

-- A batch for each hour, size and organization.
CREATE TEMP TABLE batch AS
    SELECT gen_random_uuid() AS id, organization_id, price_id, month, date_trunc('hour', ended_at) AS hour,
        count(*) AS quantity, min(ended_at) AS first, max(ended_at) AS last
    FROM billing_hold WHERE state = 'captured' AND payer = 'subscription' GROUP BY 2, 3, 4, 5;
INSERT INTO billing_usagebatch (id, tries, not_before, note, organization_id, price_id, quantity, first_captured_at,
        last_captured_at, sealed_at, state, customer_id, timestamp, identifier_number, key_number, first_tried_at,
        by_invoice, accepted_at, confirmed_at, invoice_line_id)
    SELECT batch.id, 1, last, '', batch.organization_id, batch.price_id, batch.quantity, first, last, last, 'confirmed',
        'cus_' || batch.organization_id, last, 1, 1, last, false, last, last, line.id
    FROM batch
    LEFT JOIN billing_invoice AS invoice ON invoice.organization_id = batch.organization_id
        AND (invoice.period_start AT TIME ZONE 'UTC')::date = batch.month
    LEFT JOIN billing_invoiceline AS line ON line.invoice_id = invoice.id AND line.price_id = batch.price_id;
CREATE INDEX ON batch (organization_id, price_id, hour, month);
ANALYZE batch;
UPDATE billing_hold AS hold SET usage_batch_id = batch.id FROM batch
    WHERE batch.organization_id = hold.organization_id AND batch.price_id = hold.price_id
        AND batch.month = hold.month AND batch.hour = date_trunc('hour', ended_at)
        AND state = 'captured' AND payer = 'subscription';

-- What was paid, what was granted, and the running totals.
INSERT INTO billing_ledgerentry (organization_id, kind, debit, credit, amount_micros, invoice_id, reference, reason,
        created_at)
    SELECT organization_id, 'payment', 'stripe', 'receivable', 10000 * sum(claimed_cents), invoice.id,
        'pay_' || invoice.id, '', invoice.finalized_at
    FROM billing_invoice AS invoice JOIN billing_invoiceline AS line ON line.invoice_id = invoice.id
    GROUP BY invoice.id HAVING sum(claimed_cents) > 0;
INSERT INTO billing_credit (organization_id, granted_micros, pending_micros, posted_micros)
    SELECT organization_id, sum(amount_micros) + 1000000, 0, sum(amount_micros)
    FROM billing_hold WHERE state = 'captured' AND payer = 'credit' GROUP BY organization_id;
INSERT INTO billing_ledgerentry (organization_id, kind, debit, credit, amount_micros, reason, created_at)
    SELECT organization_id, 'grant', 'promotions', 'customer_credit', granted_micros, '', now() - interval '1 year'
    FROM billing_credit WHERE organization_id > 1;
INSERT INTO billing_budget (organization_id, month, pending_micros, posted_micros, in_flight, owed_micros,
        owed_pending_micros)
    SELECT organization.id, this.month, 0, COALESCE((SELECT sum(amount_micros) FROM billing_hold AS hold
            WHERE hold.organization_id = organization.id AND hold.month = this.month AND state = 'captured'), 0),
        0, COALESCE((SELECT sum(CASE WHEN debit = 'receivable' THEN amount_micros ELSE -amount_micros END)
            FROM billing_ledgerentry AS entry WHERE entry.organization_id = organization.id
            AND 'receivable' IN (debit, credit)), 0), 0
    FROM accounts_organization AS organization,
        (SELECT date_trunc('month', now() AT TIME ZONE 'UTC')::date AS month) AS this;
SELECT setval(pg_get_serial_sequence('billing_hold', 'id'), %(holds)s);
