"""Watchers, who is behind, and the one queue of a watch stream."""
