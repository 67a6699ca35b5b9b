"""Pickles as Python 2 made those of CIFAR-100's archive."""

import struct


def python_2(thing):
    """The instructions that Python 2's pickle wrote for lists, dicts, strings, small numbers and byte arrays."""
    if isinstance(thing, dict):
        return b"}(" + b"".join(python_2(key) + python_2(value) for key, value in thing.items()) + b"u"
    if isinstance(thing, list):
        return b"](" + b"".join(map(python_2, thing)) + b"e"
    if isinstance(thing, str | bytes):
        data = thing.encode("latin-1") if isinstance(thing, str) else thing
        return (b"U" + struct.pack("<B", len(data)) if len(data) < 256 else b"T" + struct.pack("<I", len(data))) + data
    if isinstance(thing, int):
        return b"K" + struct.pack("<B", thing) if thing < 256 else b"J" + struct.pack("<i", thing)
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85U\x01b\x87R"
    dtype = b"cnumpy\ndtype\nU\x02u1K\0K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb"
    shape = python_2(thing.shape[0]) + python_2(thing.shape[1]) + b"\x86"
    return array + b"(K\x01" + shape + dtype + b"\x89" + python_2(thing.tobytes()) + b"tb"


def pickled(thing):
    return b"\x80\x02" + python_2(thing) + b"."
