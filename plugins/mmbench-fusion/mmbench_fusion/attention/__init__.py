"""Fusions whose modalities attend; the torch modules are in `mmbench_fusion.modules.attention`."""
