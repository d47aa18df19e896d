"""What holds for every test: one thread each, as in a worker process; no hub is ever asked; signals are heard."""

import os
import signal

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported; pytest -n runs one process a core
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

# Begun by nohup or in the background, the tests ignore these signals, and so would every process that they start. With
# a handler, even one that does nothing, a process that is started hears them again.
for number in {signal.SIGINT, getattr(signal, "SIGHUP", signal.SIGINT)}:
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, lambda *_: None)
