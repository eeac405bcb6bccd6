"""Verified uploads with true progress over Server-Sent Events."""

__version__ = "0.1.0"
