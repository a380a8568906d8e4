"""Measurements that stand behind the documents: `python -m benchmarks keys`."""
