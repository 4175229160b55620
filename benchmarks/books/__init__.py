"""How long the books take to check themselves, with a year of them in PostgreSQL."""
