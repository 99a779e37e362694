"""The benchmarks: `python -m bench`. Numbers of one machine; trust the ratios."""
