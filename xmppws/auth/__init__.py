"""Providers of authentication: one way to check credentials, one file."""
