"""Clients that we did not write, each with packages of its own, against the running platform."""
