"""Commands that answer other programs: the service."""
