"""
PocketSphinx through its C interface, with ctypes.

Its Python class holds the interpreter's lock from the first to the last sample of an utterance: an event loop
stands still for 26 ms after 1.9 s of speech, and for longer where calls share a core. A call through ctypes
lets go of it. The functions are those of pocketsphinx.h 5.1, found in the extension module of the wheel.
"""

from __future__ import annotations

import ctypes
import threading
import weakref
from collections.abc import Iterable
from functools import cache
from typing import Any

_POINTER, _TEXT, _INT = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
_FUNCTIONS: dict[str, tuple[Any, ...]] = {
    "ps_config_init": (_POINTER, _POINTER),
    "ps_config_set_str": (_POINTER, _POINTER, _TEXT, _TEXT),
    "ps_config_free": (_INT, _POINTER),
    "ps_init": (_POINTER, _POINTER),
    "ps_free": (_INT, _POINTER),
    "ps_add_word": (_INT, _POINTER, _TEXT, _TEXT, _INT),
    "ps_lookup_word": (_POINTER, _POINTER, _TEXT),
    "ckd_free": (None, _POINTER),
    "ps_add_jsgf_string": (_INT, _POINTER, _TEXT, _TEXT),
    "ps_activate_search": (_INT, _POINTER, _TEXT),
    "ps_start_utt": (_INT, _POINTER),
    "ps_process_raw": (_INT, _POINTER, _TEXT, ctypes.c_size_t, _INT, _INT),
    "ps_end_utt": (_INT, _POINTER),
    "ps_get_hyp": (_TEXT, _POINTER, _POINTER),
}
"""Of each: what it answers, then what it takes."""

_spare: list[Decoder] = []
"""A decoder made before the fork; the first recognizer of each process takes its copy of it."""
_spare_lock = threading.Lock()


def preload() -> None:
    """
    Load the acoustic model and the dictionary once, for the processes that fork off afterwards.

    They share the memory (about 28 MB each otherwise) and save 0.1 s. Starts no thread.
    """
    if not _spare:
        _spare.append(Decoder())


def take() -> Decoder:
    """
    The one that was made before the fork, or a new one.

    Raises:
        RuntimeError: The model cannot be loaded.
    """
    with _spare_lock:
        if _spare:
            return _spare.pop()
    return Decoder()


def known(words: Iterable[str]) -> set[str] | None:
    """Which of these the decoder that was made before the fork can hear; None: it is gone."""
    with _spare_lock:
        return {word for word in words if _spare[0].knows(word)} if _spare else None


class Decoder:
    """
    One decoder with the English model that the wheel brings; to be used by one thread at a time.

    Raises:
        RuntimeError: The model cannot be loaded.
    """

    def __init__(self) -> None:
        import pocketsphinx

        self._lib = lib = _library()
        model = pocketsphinx.get_model_path("en-us")
        config = lib.ps_config_init(None)
        for name, value in (
            ("hmm", f"{model}/en-us"),
            ("dict", f"{model}/cmudict-en-us.dict"),
            ("loglevel", "FATAL"),
        ):
            lib.ps_config_set_str(config, name.encode(), value.encode())
        self._decoder = lib.ps_init(config)
        lib.ps_config_free(config)
        if not self._decoder:
            raise RuntimeError(f"PocketSphinx could not load the model in {model}")
        weakref.finalize(self, lib.ps_free, self._decoder)

    def add_word(self, word: str, phones: str) -> None:
        """Teach a word, such as `zorblatt` as `Z AO R B L AE T`."""
        self._lib.ps_add_word(self._decoder, word.encode(), phones.encode(), 1)

    def knows(self, word: str) -> bool:
        """Whether it can listen for this word."""
        phones = self._lib.ps_lookup_word(self._decoder, word.encode())
        self._lib.ckd_free(phones)
        return phones is not None

    def listen_for(self, grammar: str) -> None:
        """
        Hear what this grammar (JSGF) allows, and nothing else.

        Raises:
            ValueError: It is none, or has a word that the decoder does not know.
        """
        name = b"phrases"
        if self._lib.ps_add_jsgf_string(self._decoder, name, grammar.encode()) != 0:
            raise ValueError("PocketSphinx does not take the grammar")
        self._lib.ps_activate_search(self._decoder, name)

    def hear(self, pcm: bytes) -> str:
        """The words of an utterance (16-bit samples, 16 kHz); empty for none. Other threads run meanwhile."""
        lib, decoder = self._lib, self._decoder
        lib.ps_start_utt(decoder)
        lib.ps_process_raw(decoder, pcm, len(pcm) // 2, 0, 1)
        lib.ps_end_utt(decoder)
        return (lib.ps_get_hyp(decoder, None) or b"").decode().strip()


@cache
def _library() -> ctypes.CDLL:
    from pocketsphinx import _pocketsphinx

    lib = ctypes.CDLL(_pocketsphinx.__file__)
    for name, (answer, *takes) in _FUNCTIONS.items():
        function = getattr(lib, name)
        function.restype, function.argtypes = answer, takes
    return lib
