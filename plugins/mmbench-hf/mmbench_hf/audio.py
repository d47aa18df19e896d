"""The encoder type `hf_audio`: sounds through a model of the hub."""

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mmbench as mb
from mmbench.errors import DataError, told
from mmbench_hf.encoder import HubEncoder
from mmbench_hf.place import PREPROCESSOR

if TYPE_CHECKING:
    from mmbench_hf.encoder import Array
    from mmbench_hf.modules import Network


class HubAudio(HubEncoder):
    """A model of sounds of the hub, frozen or tuned, then one learned projection.

    x = at most `seconds` of the sound at the model's own rate, as its feature extractor makes them: padded to so many
    seconds, with a mask if the model wants one. s = the model's last hidden states, [B, T, D]; then as all models of
    the hub: see docs/guides/your-models.md. SpecAugment and the dropping of whole layers in training are left out.
    """

    kind = "audio"
    needed = PREPROCESSOR
    batch = 4
    space = {
        **HubEncoder.space,
        "seconds": mb.Float(0.5, 30.0, default=5.0, stage="prepare", within=(0.05, 600.0)),
    }

    def arrays(self, state: Mapping[str, Any], column: Sequence[Any]) -> "dict[str, Array]":
        """{"values": float32 [N, samples] or [N, frames, bands], perhaps "mask": bool, of samples or frames}."""
        import numpy as np

        extractor = _extractor(self.folder)
        rate = extractor.sampling_rate
        longest = round(float(state["seconds"]) * rate)
        sounds = [resampled(sound.samples, sound.rate, rate)[:longest] for sound in column]
        fixed = (
            {} if hasattr(extractor, "n_samples") else {"max_length": longest}
        )  # Whisper reads 30 s, whatever is said
        found = extractor(
            sounds, sampling_rate=rate, padding="max_length", truncation=True, return_tensors="np", **fixed
        )
        name = next(name for name in ("input_values", "input_features") if name in found)
        arrays = {"values": np.asarray(found[name], np.float32)}
        if "attention_mask" in found:
            arrays["mask"] = np.asarray(found["attention_mask"], bool)
        return arrays

    def network(self, folder: Path, tokens: str) -> "Network":
        from mmbench_hf.readers import Audio

        return Audio(folder, tokens=tokens)

    def blank(self, state: Mapping[str, Any]) -> Any:
        import numpy as np

        return mb.Sound(np.zeros(1600, np.float32), 16_000)


def resampled(samples: "Array", rate: int, wanted: int) -> "Array":
    """The sound at another rate, by a polyphase filter."""
    import numpy as np
    from scipy.signal import resample_poly

    if rate == wanted:
        return samples
    common = math.gcd(rate, wanted)
    return np.asarray(resample_poly(samples, wanted // common, rate // common), np.float32)


@lru_cache(maxsize=4)
def _extractor(folder: Path) -> Any:
    from transformers import AutoFeatureExtractor

    try:
        return AutoFeatureExtractor.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except Exception as error:  # whatever the files make of it
        raise DataError(f"the feature extractor in {folder.name!r} can't be read: {told(error)[:300]}") from error
