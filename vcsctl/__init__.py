"""vcsctl: a service manager for clusters, from one YAML unit file per service."""

__version__ = "0.1.0"
