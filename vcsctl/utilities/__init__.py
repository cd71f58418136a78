"""The built-in utilities, programs of their own: `vcs-utility NAME`. They know nothing of vcsd and its queue."""
