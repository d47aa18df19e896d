"""Modules of `mmbench_fusion.joining`, a file of the same name for each there."""
