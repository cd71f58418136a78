"""Floor 0: what the words mean and what should happen. No I/O, no clock, no memory."""
