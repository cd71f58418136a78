"""What the product costs, measured as a user gets it: real vcsd, claims, locks, durable records, log files."""
