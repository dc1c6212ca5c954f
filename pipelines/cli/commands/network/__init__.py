"""Commands that answer browsers and other programs: the app, the service."""
