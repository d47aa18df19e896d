"""Fusions that read the modalities in step and remember; the torch modules are in `mmbench_fusion.modules.memory`."""
