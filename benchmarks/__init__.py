"""What pstore costs: suspended frames beside `pickle`, and the engine.  See README.md; run ``python -m benchmarks``."""
