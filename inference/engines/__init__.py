"""The engines: each turns one prompt, size and seed into one picture, and none knows Django."""
