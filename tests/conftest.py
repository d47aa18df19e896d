"""What holds for every test: one thread each, as in a worker process; no hub is ever asked."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported; pytest -n runs one process a core
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
