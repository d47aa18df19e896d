"""Modules of `mmbench_fusion.memory`, a file of the same name for each there."""
