"""What all tests rest on."""

from __future__ import annotations

import signal

# A shell without job control starts background commands with SIGINT ignored, and children inherit that: tests of Ctrl-C
# would then test nothing.
signal.signal(signal.SIGINT, signal.default_int_handler)
