"""Fusions whose modalities weigh decisions; the torch modules are in `mmbench_fusion.modules.voting`."""
