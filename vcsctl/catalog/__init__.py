"""Floor 1: unit files, from bytes to units and problems. Starts nothing, touches no shared directory."""
