"""Trains the miniature from nothing: first its autoencoder, then its transformer with both readers."""
