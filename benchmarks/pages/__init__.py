"""How long the money pages take for an organization with 200,000 images a month."""
