"""The pure engine: all semantics, no I/O."""
