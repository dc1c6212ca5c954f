"""The version of this product; it stands here alone."""

__version__ = "0.1.0"
