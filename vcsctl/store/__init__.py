"""Floor 1: the cell's memory. Kernel locks and small files on the shared directory, and nothing else."""
