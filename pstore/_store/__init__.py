"""The store: an object graph as bytes, and the database that holds it (layer 2)."""
