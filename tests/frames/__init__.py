"""Programs that suspend in every construct of the language, and the harness that carries them to other processes."""
