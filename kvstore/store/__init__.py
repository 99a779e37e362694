"""Shells that drive the engine: time, threads, the loop, commits."""
