"""Speaks words with espeak-ng; run as a script in a process of its own, by `mmbench_data.av_digits`.

    python speak.py LIBRARY DATA_FOLDER OUT < utterances

Each line of the input is "voice<TAB>rate<TAB>pitch<TAB>text"; OUT becomes a folder with one file of int16 samples for
each line, `0.raw`, `1.raw`, ...; the sample rate and then the number of utterances done are printed.

The library keeps state between calls (random numbers, the last voice's settings), so that the same words in another
order sound different: one fresh process that speaks all, in a fixed order, always gives the same samples.
"""

import ctypes
import sys
from pathlib import Path
from typing import Any

# From espeak-ng's speak_lib.h
SYNCHRONOUS, POS_CHARACTER, CHARS_UTF8 = 2, 1, 1
RATE, PITCH = 1, 3

Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


def main(library: str, data: str, out: str) -> None:
    espeak = ctypes.CDLL(library)
    spoken = bytearray()

    def heard(samples: Any, count: int, events: object) -> int:
        if samples and count:
            spoken.extend(ctypes.string_at(samples, 2 * count))
        return 0

    callback = Callback(heard)  # kept alive as long as the library may call it
    rate = espeak.espeak_Initialize(SYNCHRONOUS, 0, data.encode(), 0)
    if rate <= 0:
        sys.exit(f"espeak-ng finds no data in {data}")
    espeak.espeak_SetSynthCallback(callback)
    print(rate, flush=True)
    Path(out).mkdir()
    current = ""
    for number, line in enumerate(sys.stdin):
        voice, pace, pitch, text = line.rstrip("\n").split("\t")
        if voice != current and espeak.espeak_SetVoiceByName(voice.encode()):
            sys.exit(f"espeak-ng has no voice {voice}")
        current = voice
        espeak.espeak_ng_SetRandSeed(ctypes.c_long(number))
        espeak.espeak_SetParameter(RATE, int(pace), 0)
        espeak.espeak_SetParameter(PITCH, int(pitch), 0)
        word = text.encode() + b"\0"
        failed = espeak.espeak_Synth(word, ctypes.c_size_t(len(word)), 0, POS_CHARACTER, 0, CHARS_UTF8, None, None)
        if failed or espeak.espeak_Synchronize():
            sys.exit(f"espeak-ng fails on {text!r} with voice {voice}")
        (Path(out) / f"{number}.raw").write_bytes(spoken)
        spoken.clear()
        print(number + 1, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
