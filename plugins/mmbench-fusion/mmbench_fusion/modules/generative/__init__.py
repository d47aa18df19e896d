"""Modules of `mmbench_fusion.generative`, a file of the same name for each there."""
