"""Requests to the cache for postings that are about to be read."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic


def _prefetch_signature(_context, array, place):
    """Give the type and the code of a request to the nearest cache for ``array[place]``; any place is allowed."""
    return types.void(array, place), lambda *call: _generate(*call, locality=3)


def _prefetch_early_signature(_context, array, place):
    """Do so for the cache behind the nearest, which takes more requests at once."""
    return types.void(array, place), lambda *call: _generate(*call, locality=2)


def _generate(context, builder, signature, arguments, *, locality):
    data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
    byte_pointer, i32 = ir.IntType(8).as_pointer(), ir.IntType(32)
    pointer = builder.bitcast(builder.gep(data, [arguments[1]]), byte_pointer)
    function_type = ir.FunctionType(ir.VoidType(), [byte_pointer, i32, i32, i32])
    function = cgutils.get_or_insert_function(builder.module, function_type, "llvm.prefetch.p0")
    builder.call(function, [pointer, i32(0), i32(locality), i32(1)])  # to read, as data
    return context.get_dummy_value()


prefetch: Any = intrinsic(_prefetch_signature)
prefetch_early: Any = intrinsic(_prefetch_early_signature)
