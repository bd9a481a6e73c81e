"""Speed, measured: ``make bench`` runs the cases and prints a table and one JSON object.

Each case compares with a baseline in the same run and reports the ratio; absolute figures belong to the machine.
"""
