"""Modules of `mmbench_fusion.hierarchy`, a file of the same name for each there."""
