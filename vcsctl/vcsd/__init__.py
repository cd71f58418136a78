"""Floor 3: the daemon, one single-threaded loop of observe, reconcile, apply."""
