"""Fusions whose modalities rescale one another; the torch modules are in `mmbench_fusion.modules.gating`."""
