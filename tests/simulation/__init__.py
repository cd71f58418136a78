"""The real code on simulated storage, clocks and processes, with faults. See docs/testing.md."""
