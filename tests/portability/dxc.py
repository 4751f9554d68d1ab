"""Compiles files with Microsoft's HLSL compiler: dxc.py LIBDXCOMPILER.so FILE.hlsl…

Prints each file that the compiler rejects, with its messages. Exits with 1 if it rejects any.

The library has a COM interface, called here through ctypes: a method is an index into a table. On
Linux its IUnknown has a destructor, which takes two entries after Release.
"""
import ctypes
import sys
import uuid
from ctypes import POINTER, byref, c_char_p, c_int32, c_size_t, c_uint32, c_void_p, c_wchar_p

COMPILER = uuid.UUID("73e22d93-e6ce-47f3-b5bf-f0664f39c1b0").bytes_le
ICOMPILER3 = uuid.UUID("228b4687-5a6a-4730-900c-9702b2203f54").bytes_le
IOPERATION_RESULT = uuid.UUID("cedb484a-d4e9-445a-b991-ca21ca157dc2").bytes_le
UTF8 = 65001


class Buffer(ctypes.Structure):
    _fields_ = [("pointer", c_char_p), ("size", c_size_t), ("encoding", c_uint32)]


def method(this, number, result, *arguments):
    """Calls method `number` of an object, counted after IUnknown."""
    table = ctypes.cast(this, POINTER(POINTER(c_void_p)))[0]
    types = [kind for kind, _ in arguments]
    function = ctypes.CFUNCTYPE(result, c_void_p, *types)(table[5 + number])
    return function(this, *(value for _, value in arguments))


def compile_text(compiler, text):
    """Returns the messages of the compiler if it rejects a text, else None."""
    words = ["-E", "main", "-T", "cs_6_2", "-enable-16bit-types", "-HV", "2018", "-no-warnings"]
    arguments = (c_wchar_p * len(words))(*words)
    source, outcome = Buffer(text, len(text), UTF8), c_void_p()
    failed = method(
        compiler, 0, c_int32, (POINTER(Buffer), byref(source)), (POINTER(c_wchar_p), arguments),
        (c_uint32, len(words)), (c_void_p, None), (c_char_p, IOPERATION_RESULT),
        (POINTER(c_void_p), byref(outcome)),
    )
    if failed:
        return f"no result: {failed & 0xFFFFFFFF:#x}"
    status, errors = c_int32(), c_void_p()
    method(outcome, 0, c_int32, (POINTER(c_int32), byref(status)))
    if status.value == 0:
        return None
    method(outcome, 2, c_int32, (POINTER(c_void_p), byref(errors)))
    text = ctypes.string_at(method(errors, 0, c_void_p), method(errors, 1, c_size_t))
    return text.decode(errors="replace")


def main(library, *files):
    create = ctypes.CDLL(library).DxcCreateInstance
    compiler = c_void_p()
    if create(c_char_p(COMPILER), c_char_p(ICOMPILER3), byref(compiler)):
        sys.exit(f"{library} cannot create a compiler")
    refused = 0
    for name in files:
        with open(name, "rb") as file:
            said = compile_text(compiler, file.read())
        if said:
            refused += 1
            print(f"{name}: {said}")
    print(f"{len(files)} files, {refused} rejected")
    sys.exit(refused > 0)


main(*sys.argv[1:])
