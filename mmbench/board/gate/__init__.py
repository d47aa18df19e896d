"""The comparability gate: which records may stand on one board, and whose costs may be compared.

`conditions` sorts records into groups; `boards` makes a board of each. `leaderboard`, `publish` and `run` show them.
"""
