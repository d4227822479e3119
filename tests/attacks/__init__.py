"""Attacks on the commands and their files, seeded; `python -m attacks` runs them for hours, the suite a slice of each.

A family makes attacks from random numbers; an attack says what it tries, and raises `Finding` where the answer is
anything but a result, a recovery that says so, or one line and the exit code of a refusal.
"""
