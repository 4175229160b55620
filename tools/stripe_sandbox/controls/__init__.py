"""What tests and the operator can make happen beyond the API."""
