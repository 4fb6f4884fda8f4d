"""The C++ list of operations is that of the file format, and each of them runs."""

import tersenet._core as _core

from tersenet.ir.ops import OPS, REQUIRED, _default


def test_both_lists_hold_the_same_rows():
    rows = {name: (code, arguments, outputs) for code, name, arguments, outputs in _core.operation_table()}
    assert list(rows) == list(OPS)
    for name, op in OPS.items():
        code, arguments, outputs = rows[name]
        assert (code, outputs) == (op.code, op.outputs)
        assert [(a, kind) for a, kind, _, _ in arguments] == [(a.name, a.kind) for a in op.arguments], name
        for (_, kind, required, text), argument in zip(arguments, op.arguments):
            assert required == (argument.default is REQUIRED)
            if not required and argument.default is not None:
                assert _default(kind, text) == argument.default, (name, argument.name)
