"""Statistics of scores: how sure one is, whether two differ, and how contenders stand over many tasks.

Pure functions of numbers; `rank` puts them to use.
"""
