"""Modules of `mmbench_fusion.attention`, a file of the same name for each there."""
