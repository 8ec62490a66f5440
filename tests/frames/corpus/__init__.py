"""One module per part of the language; every case is a few lines and says what it tries.

Linting is off in these modules: the code that a linter would change is what is tried.
"""
