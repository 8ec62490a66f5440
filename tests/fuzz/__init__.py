"""Random programs and random object graphs, suspended and rebuilt everywhere.

``python -m tests.fuzz --seed 1 --programs 500`` runs programs from a seed; ``test_random_programs`` and
``test_graphs`` are the same thing under hypothesis.

=============  =====================================================================
portrait       what introspection shows of a frame
kit            what generated programs call: emit, pause, managers, iterators
choices        where the generator's decisions come from: a seed, or hypothesis
scopes         what a function being written may use
expressions    random expressions
statements     random statements
programs       random programs: helpers, main, and where the text lives
features       inside what a program really was suspended (handler, finally, call ...)
runner         one program in every mode, and the comparison of traces
fresh          programs resumed in a fresh process under another hash seed
minimise       the smallest program that still goes wrong
graphs         random object graphs and the isomorphism check
=============  =====================================================================
"""
