"""One module per part of the language; every case is a few lines and says what it tries."""
