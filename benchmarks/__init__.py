"""What the README claims in numbers, measured: each module runs as ``python -m benchmarks.NAME [--json]``."""
