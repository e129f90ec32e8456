"""The shim functions of ``loops.py`` as Numba compiles them: calls of kernels, pointers into arrays, bits of numbers, marks."""

import functools


def _emit_kernel(symbol, status=False):
    """Code generator of a kernel's call: arrays become pointers to their first element; it may return an i64 status."""
    from llvmlite import ir  # noqa: PLC0415  (with Numba: 0.5 s, wanted only when a loop is compiled)
    from numba.core import cgutils, types  # noqa: PLC0415

    def codegen(context, builder, signature, args):
        operands = [
            context.make_array(kind)(context, builder, value).data if isinstance(kind, types.Array) else value
            for kind, value in zip(signature.args[1:], args[1:], strict=True)
        ]
        kind = ir.FunctionType(ir.IntType(64) if status else ir.VoidType(), [operand.type for operand in operands])
        result = builder.call(cgutils.get_or_insert_function(builder.module, kind, symbol), operands)
        return result if status else context.get_dummy_value()

    return codegen


def _emit_row(context, builder, signature, args):
    """Code generator of ``row`` and ``row3``: an array over the last axis, at an offset, owning nothing."""
    from numba.core import cgutils, types  # noqa: PLC0415
    from numba.np.arrayobj import populate_array  # noqa: PLC0415

    whole = context.make_array(signature.args[0])(context, builder, args[0])
    shape = cgutils.unpack_tuple(builder, whole.shape, signature.args[0].ndim)
    offset = args[1]
    for extent, index in zip(shape[1:], [*args[2:], None], strict=True):
        offset = builder.mul(offset, extent, flags=["nsw"])
        offset = offset if index is None else builder.add(offset, index, flags=["nsw"])
    result = context.make_array(signature.return_type)(context, builder)
    size = context.get_constant(types.intp, 8)
    data = builder.gep(whole.data, [offset], inbounds=True)
    populate_array(result, data=data, shape=[shape[-1]], strides=[size], itemsize=size, meminfo=None)
    return result._getvalue()


def _emit_mark(context, builder, signature, args):
    """Code generator of ``unroll``: a call that ``_marked`` finds and removes."""
    from llvmlite import ir  # noqa: PLC0415
    from numba.core import cgutils  # noqa: PLC0415

    builder.call(cgutils.get_or_insert_function(builder.module, ir.FunctionType(ir.VoidType(), []), "ds_unroll"), [])
    return context.get_dummy_value()


def _emit_sum(context, builder, signature, args):
    """Code generator of ``summed``."""
    return builder.fadd(*args, flags=["reassoc"])


def _emit_bits(function):
    """Code generator of a function of one number through the bits of a double: ``function(builder, integer)``."""
    from llvmlite import ir  # noqa: PLC0415

    def codegen(context, builder, signature, args):
        bits = builder.bitcast(args[0], ir.IntType(64)) if args[0].type == ir.DoubleType() else args[0]
        result = function(builder, bits)
        if function is _exponent_bits:
            return builder.sitofp(result, ir.DoubleType())
        return builder.bitcast(result, ir.DoubleType())

    return codegen


def _mantissa_bits(b, bits):
    return b.or_(b.and_(bits, bits.type((1 << 52) - 1)), bits.type(1022 << 52))


def _exponent_bits(b, bits):
    return b.sub(b.and_(b.lshr(bits, bits.type(52)), bits.type(2047)), bits.type(1022))


def _power_bits(b, n):
    return b.shl(b.add(n, n.type(1023)), n.type(52))


def _kernels():
    """The kernels as Numba intrinsics, by name."""
    from numba import types  # noqa: PLC0415
    from numba.extending import intrinsic  # noqa: PLC0415

    number = types.float64

    def of_point(symbol):
        @intrinsic
        def kernel(typingctx, k, t, y, p, out):
            return types.void(k, number, y, p, out), _emit_kernel(symbol)
        return kernel

    def of_vector(symbol):
        @intrinsic
        def kernel(typingctx, k, t, y, v, p, out):
            return types.void(k, number, y, v, p, out), _emit_kernel(symbol)
        return kernel

    def cotangents(symbol):
        @intrinsic
        def kernel(typingctx, k, t, y, p, w, y_bar, p_bar, t_bar):
            return types.void(k, number, y, p, w, y_bar, p_bar, t_bar), _emit_kernel(symbol)
        return kernel

    @intrinsic
    def bend(typingctx, k, t, y, v, tau, p, w, y_bar, p_bar, t_bar):
        return types.void(k, number, y, v, number, p, w, y_bar, p_bar, t_bar), _emit_kernel("ds_bend")

    groups = {of_point: ("rhs", "base_rhs", "jac", "rhs_t", "drift", "kick", "gentle", "event"), of_vector: ("push", "pull"),
              cotangents: ("vjp", "drift_vjp", "kick_vjp", "gentle_vjp")}
    return {name: make(f"ds_{name}") for make, names in groups.items() for name in names} | {"bend": bend}


def _parts():
    """What takes and reverses parts of a solve as Numba intrinsics, by name."""
    from numba import types  # noqa: PLC0415
    from numba.extending import intrinsic  # noqa: PLC0415

    @intrinsic
    def walk(typingctx, k, frame, y, slope, first, last):
        return types.int64(k, frame, y, slope, types.int64, types.int64), _emit_kernel("ds_walk", True)

    @intrinsic
    def reverse(typingctx, k, frame, y, slope, first, last, begin, end):
        return types.int64(k, frame, y, slope, *[types.int64] * 4), _emit_kernel("ds_reverse", True)

    return {"walk": walk, "reverse": reverse}


@functools.cache
def intrinsics():
    """The shim functions as Numba intrinsics, by name."""
    from numba import types  # noqa: PLC0415
    from numba.extending import intrinsic  # noqa: PLC0415

    vector = types.Array(types.float64, 1, "C")

    @intrinsic
    def row(typingctx, array, i):
        return vector(array, types.intp), _emit_row

    @intrinsic
    def row3(typingctx, array, i, j):
        return vector(array, types.intp, types.intp), _emit_row

    @intrinsic
    def mantissa(typingctx, x):
        return types.float64(types.float64), _emit_bits(_mantissa_bits)

    @intrinsic
    def exponent(typingctx, x):
        return types.float64(types.float64), _emit_bits(_exponent_bits)

    @intrinsic
    def power_of_two(typingctx, n):
        return types.float64(types.int64), _emit_bits(_power_bits)

    @intrinsic
    def summed(typingctx, total, x):
        return types.float64(types.float64, types.float64), _emit_sum

    @intrinsic
    def unroll(typingctx):
        return types.void(), _emit_mark

    found = row, row3, mantissa, exponent, power_of_two, summed, unroll
    return _kernels() | _parts() | {function.__name__: function for function in found}
