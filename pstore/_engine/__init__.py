"""The durable event loop: tasks, futures, timers, steps, and the engine that runs and commits them (layer 3)."""
