"""Draws flat, cheerful pictures and says in words what is on them: all that the miniature learns."""
