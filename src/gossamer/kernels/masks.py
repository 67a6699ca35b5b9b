"""Which of 64 sums exceed a limit, as the bits of one integer: what processors do in a few instructions."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

LANES = 64
"""Sums that are compared at once."""


def _exceeding_signature(_context, array, _start, _limit):
    """Give the type and the code of ``array[start + i] > limit`` as bit i; 64 places from ``start`` on must exist."""

    def generate(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        number = signature.args[0].dtype
        vector = ir.VectorType(context.get_data_type(number), LANES)
        sums = builder.load(builder.bitcast(builder.gep(data, [arguments[1]]), vector.as_pointer()))
        sums.align = number.bitwidth // 8
        i32, undefined = ir.IntType(32), ir.Constant(vector, ir.Undefined)
        first = builder.insert_element(undefined, arguments[2], i32(0))
        limits = builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(i32, LANES), [0] * LANES))
        compare = builder.icmp_signed if number.signed else builder.icmp_unsigned
        return builder.bitcast(compare(">", sums, limits), ir.IntType(LANES))

    return types.uint64(array, types.intp, array.dtype), generate


def _clear_signature(_context, array, _start):
    """Give the type and the code of setting 64 places from ``start`` on, which must exist, to 0."""

    def generate(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        number = signature.args[0].dtype
        vector = ir.VectorType(context.get_data_type(number), LANES)
        place = builder.bitcast(builder.gep(data, [arguments[1]]), vector.as_pointer())
        builder.store(ir.Constant(vector, [0] * LANES), place, align=number.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp), generate


def _lowest_bit_signature(_context, _mask):
    """Give the type and the code of the place of the lowest bit that is set; one must be."""

    def generate(_context, builder, _signature, arguments):
        return builder.cttz(arguments[0], ir.IntType(1)(1))

    return types.int64(types.uint64), generate


def _count_bits_signature(_context, _mask):
    """Give the type and the code of the number of bits that are set."""

    def generate(_context, builder, _signature, arguments):
        return builder.ctpop(arguments[0])

    return types.int64(types.uint64), generate


exceeding: Any = intrinsic(_exceeding_signature)
clear_lanes: Any = intrinsic(_clear_signature)
lowest_bit: Any = intrinsic(_lowest_bit_signature)
count_bits: Any = intrinsic(_count_bits_signature)
