"""The torch modules of mmbench_head."""
