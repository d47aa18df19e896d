"""Data sets from the wheel aeon, which holds collections of time series."""
