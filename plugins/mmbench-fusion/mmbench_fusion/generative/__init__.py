"""Fusions that make the modalities again from what they share.

The modules are in `mmbench_fusion.modules.generative`.
"""
