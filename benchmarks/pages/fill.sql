-- Two months of one organization: %(images)s images a month in %(batches)s batches. The first month is on an invoice,
-- the second is billed by none yet.
SET session_replication_role = replica;  -- no triggers, no foreign keys
CREATE TEMP TABLE size AS
    SELECT id, amount_micros, (row_number() OVER (ORDER BY amount_micros) - 1) AS number
    FROM billing_price WHERE model = 'flux-1-schnell' ORDER BY amount_micros LIMIT 3;
CREATE TEMP TABLE batch AS
    SELECT n, gen_random_uuid() AS id, size.id AS price_id, amount_micros, n > %(batches)s AS is_open,
        %(images)s::bigint * ((n - 1) %% %(batches)s + 1) / %(batches)s
            - %(images)s::bigint * ((n - 1) %% %(batches)s) / %(batches)s AS quantity,
        now() - interval '60 days' * (1 - (n - 0.5) / (2 * %(batches)s)) AS at
    FROM generate_series(1, 2 * %(batches)s) AS n JOIN size ON size.number = n %% 3;
INSERT INTO billing_hold (organization_id, payer, price_id, amount_micros, month, reserved_micros, state, created_at,
        ended_at, usage_batch_id)
    SELECT %(organization)s, 'subscription', price_id, amount_micros, date_trunc('month', at AT TIME ZONE 'UTC')::date,
        amount_micros, 'captured', at, at, batch.id
    FROM batch CROSS JOIN LATERAL generate_series(1, quantity);
INSERT INTO images_generation (id, organization_id, hold_id, request_id, model, prompt, size, seed, response_format,
        body_digest, retry_joined, status, attempt, worker, error_code, engine, created_at, deadline_at, started_at,
        drawn_at, ended_at)
    SELECT 'gen_' || lpad(id::text, 22, '0'), organization_id, id, 'req_' || id, 'flux-1-schnell', 'a red fox',
        '512x512', 1, 'b64_json', '', 0, 'succeeded', 1, 'gpu1', '', 'blank', created_at, created_at, created_at,
        ended_at, ended_at
    FROM billing_hold;
INSERT INTO billing_ledgerentry (organization_id, kind, debit, credit, amount_micros, hold_id, reason, created_at)
    SELECT organization_id, 'capture', 'receivable', 'revenue', amount_micros, id, '', ended_at FROM billing_hold;
INSERT INTO billing_usagehour (organization_id, hour, key, price_id, payer, images, micros)
    SELECT organization_id, date_trunc('hour', ended_at), 0, price_id, payer, count(*), sum(amount_micros)
    FROM billing_hold GROUP BY 1, 2, 3, 4, 5;
INSERT INTO billing_subscription (organization_id, reference, customer_id, subscription_id, status, period_start,
        period_end, frozen_because, version, checkout_id, synced_at, invoices_read_at, paid_micros,
        past_due_owed_micros)
    SELECT %(organization)s, gen_random_uuid(), 'cus_1', 'sub_1', 'active', now() - interval '30 days',
        now() + interval '1 day', '[]', 1, '', now(), now(), 0, 0;
INSERT INTO billing_invoice (tries, not_before, note, organization_id, kind, reference, stripe_id, customer_id,
        subscription_id, number, status, created_at, period_start, period_end, held, finalized_at, done_at,
        total_cents, tax_cents, other_cents, due_cents, paid_cents)
    SELECT 1, now(), '', %(organization)s, 'period', gen_random_uuid(), 'in_1', 'cus_1', 'sub_1', 'BENCH-1', 'paid',
        now() - interval '30 days', now() - interval '60 days', now() - interval '30 days', true, now(), now(),
        0, 0, 0, 0, 0;
-- The meter has missed a hundred images of each size, so that each line has its reasons.
INSERT INTO billing_invoiceline (invoice_id, price_id, quantity, claimed_cents, carried_cents, stripe_quantity,
        stripe_cents, correction_cents)
    SELECT (SELECT id FROM billing_invoice), price_id, sum(quantity), sum(quantity) * amount_micros / 10000, 0,
        sum(quantity) - 100, (sum(quantity) - 100) * amount_micros / 10000, 100 * amount_micros / 10000
    FROM batch WHERE NOT is_open GROUP BY price_id, amount_micros;
INSERT INTO billing_usagebatch (id, tries, not_before, note, organization_id, price_id, quantity, first_captured_at,
        last_captured_at, sealed_at, state, customer_id, timestamp, identifier_number, key_number, first_tried_at,
        by_invoice, accepted_at, confirmed_at, invoice_line_id)
    SELECT batch.id, 1, at, '', %(organization)s, batch.price_id, batch.quantity, at, at, at, 'confirmed', 'cus_1', at,
        1, 1, at, false, at, at, CASE WHEN NOT is_open THEN line.id END
    FROM batch JOIN billing_invoiceline AS line USING (price_id);
INSERT INTO billing_budget (organization_id, month, pending_micros, posted_micros, in_flight, owed_micros,
        owed_pending_micros)
    SELECT %(organization)s, date_trunc('month', now() AT TIME ZONE 'UTC')::date, 0, 0, 0, sum(amount_micros), 0
    FROM billing_hold;
