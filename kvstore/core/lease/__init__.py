"""Leases, their keys and their expiry."""
