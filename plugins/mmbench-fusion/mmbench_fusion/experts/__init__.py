"""Fusions whose modalities are read by several experts, or as a graph.

The torch modules are in `mmbench_fusion.modules.experts`.
"""
