"""Modules of `mmbench_fusion.voting`, a file of the same name for each there."""
