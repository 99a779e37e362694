"""The journal: commits in the order they came, one synced write each, until LMDB has them."""
