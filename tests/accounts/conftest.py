"""The cast, for the tests of this folder."""

from tests.cast import alice, bob, charlie, pauper

__all__ = ["alice", "bob", "charlie", "pauper"]
