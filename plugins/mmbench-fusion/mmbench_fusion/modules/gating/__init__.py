"""Modules of `mmbench_fusion.gating`, a file of the same name for each there."""
