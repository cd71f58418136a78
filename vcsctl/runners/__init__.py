"""Floor 2: the only place that starts or signals a process."""
