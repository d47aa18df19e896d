"""Fusions whose modalities join pooled vectors; the torch modules are in `mmbench_fusion.modules.joining`."""
