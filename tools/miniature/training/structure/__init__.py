"""What the transformer is given before it learns: its stream, the layout, and where tokens are."""
