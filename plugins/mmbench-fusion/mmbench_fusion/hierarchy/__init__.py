"""Fusions whose modalities meet step by step; the torch modules are in `mmbench_fusion.modules.hierarchy`."""
