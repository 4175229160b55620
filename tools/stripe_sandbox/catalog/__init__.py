"""What is sold: products, prices, meters, and the events that meters count."""
