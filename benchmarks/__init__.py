"""Figures, measured on a running platform. Each module is a command; see README.md."""
