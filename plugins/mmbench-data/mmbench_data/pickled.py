"""Reads a NumPy file that holds a pickle, letting through what rebuilds arrays and nothing else."""

import codecs
import io
import pickle
from typing import Any

from mmbench.errors import DataError


def _latin1(text: str, encoding: str) -> bytes:
    """What `_codecs.encode` is called for in such a file: bytes written as text, as Python 2 could read them."""
    if codecs.lookup(encoding).name != "iso8859-1":
        raise DataError(f"the NumPy file asks for the codec {encoding!r}, which no array needs")
    return text.encode("latin1")


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        import numpy as np

        wanted = f"{module.replace('numpy.core.', 'numpy._core.')}.{name}"
        if wanted == "numpy._core.multiarray._reconstruct":
            return np._core.multiarray._reconstruct  # type: ignore[attr-defined]
        allowed = {"numpy.ndarray": np.ndarray, "numpy.dtype": np.dtype, "_codecs.encode": _latin1}
        if wanted not in allowed:
            raise DataError(f"the NumPy file asks for {module}.{name}, which no array needs: it is not loaded")
        return allowed[wanted]


def load_npy(content: bytes) -> Any:
    """The object in a .npy file written with `allow_pickle=True`.

    Raises DataError if it isn't such a file or asks for any global that arrays do not need.
    """
    from numpy.lib import format as npy

    file = io.BytesIO(content)
    try:
        version = npy.read_magic(file)
        shape, _, dtype = npy.read_array_header_1_0(file) if version == (1, 0) else npy.read_array_header_2_0(file)
        if not dtype.hasobject or shape != ():
            raise DataError("the NumPy file holds no single pickled object")
        return _ArraysOnly(file).load().item()
    except (ValueError, pickle.UnpicklingError, EOFError, AttributeError) as error:
        raise DataError(f"the NumPy file can't be read: {error}") from error
