"""What an invoice says: the ledger decides, and meters are how it usually gets there.

While an invoice is a draft it is held. Shortly before Stripe would have made it final, it claims the batches of use
that no other invoice bills (claiming), its lines are compared with them price by price and corrected by items of
ours (settling), and only then it becomes final. What no subscription's invoice will bill gets one of its own (own),
or is written off (writing_off).
"""
