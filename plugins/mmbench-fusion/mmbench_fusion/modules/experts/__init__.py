"""Modules of `mmbench_fusion.experts`, a file of the same name for each there."""
