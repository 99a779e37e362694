"""Revisions, records, the key index, transactions, compaction."""
