"""A cell of emulated machines on a real network file system. Not part of what is installed, and of no test run."""
