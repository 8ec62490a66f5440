"""CPython's own test suites, run while every suspended frame is captured and rebuilt under their feet.

``python -m tests.suites [--json FILE] [SUITE ...]`` runs them and prints a table. How it works is told in ``recapture``.
"""
