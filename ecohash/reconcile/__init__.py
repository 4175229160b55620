"""The books check themselves: each invariant is one query, and each difference is one line.

I1  no hold outlives the longest job, and each hold ends as its job did
I2  captured holds = stored pictures; a job that did not succeed has neither
I3  the running totals of credits and of budgets (an organization's, a key's) are the sums of their
    holds: pending and posted of its month, in flight of any; nothing was admitted above its cap; what an
    organization owes is its account in the ledger
I4  the ledger agrees with the grants, captures and refunds that it records, and the sums by hour with it
I5  each image that a subscription pays is in one usage batch, and each batch holds what it says
I6  Stripe has counted and billed what the batches hold (billing/invoicing/comparing.py)
I7  one idempotency key of an organization has at most one job and one capture
I8  what was given up was not charged; the one refusal after which a job may still be charged is that of a
    deadline which passed while it was drawn, and it says so
I11 each batch is billed by one line of an invoice, or written off, and what a line bills wrongly is carried
I12 a closed month stays as it was proven

Months that are closed are proven once: see `closing`.
"""

from ecohash.reconcile.checks import differences, differences_in_snapshot

__all__ = ["differences", "differences_in_snapshot"]
