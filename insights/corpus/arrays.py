"""Python values to Arrow arrays, without pandas: `pyarrow.array` of a list imports it, which takes a second.

Values of the type that a column wants are packed here; a column that holds anything else goes to pyarrow value by value,
and what no cleaning makes fit becomes NULL.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from insights.corpus.parse import clean
from insights.corpus.trace import as_json

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
UNFIT = (TypeError, ValueError, OverflowError)  # pyarrow's own errors are ValueErrors and TypeErrors


def array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """The values as an array of this type; what the type cannot hold is cleaned or becomes NULL."""
    import pyarrow as pa

    if values.count(None) == len(values):
        return pa.nulls(len(values), kind)
    try:
        packed = _packed(values, kind)
        return pa.array(values, kind) if packed is None else packed
    except UNFIT:
        return pa.array([_coerce(v, kind) for v in values], kind)


def _texts(values: Sequence[str | None]) -> pa.Array:
    import pyarrow as pa

    builder = pa.lib.StringBuilder()
    builder.append_values(values)
    return builder.finish()


def _packed(values: Sequence[Any], kind: pa.DataType) -> pa.Array | None:
    """None where a value is of another type than the column's."""
    import numpy as np
    import pyarrow as pa

    found = set(map(type, values)) - {type(None)}
    if pa.types.is_string(kind) and found == {str}:
        return _texts(values)
    if pa.types.is_integer(kind) and found == {int}:
        return _from(values, 0, kind, kind.to_pandas_dtype())
    if pa.types.is_floating(kind) and found <= {int, float}:
        return _from(values, 0.0, kind, np.float64)
    if pa.types.is_boolean(kind) and found == {bool}:
        held = np.fromiter((v is True for v in values), bool, len(values))
        return pa.Array.from_buffers(kind, len(values), [_valid(values), _bits(held)])
    if pa.types.is_timestamp(kind) and found == {datetime} and all(v is None or v.tzinfo for v in values):
        micros = [None if v is None else (v - EPOCH) // MICROSECOND for v in values]
        return _from(micros, 0, kind, np.int64)
    if pa.types.is_list(kind) and found == {list}:
        sizes = np.fromiter((len(v) if v else 0 for v in values), np.int32, len(values))
        ends = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
        texts = array([text for v in values if v for text in v], pa.string())
        return pa.Array.from_buffers(kind, len(values), [_valid(values), pa.py_buffer(ends)], children=[texts])
    return None


def _from(values: Sequence[Any], blank: float, kind: pa.DataType, dtype: Any) -> pa.Array:
    import numpy as np
    import pyarrow as pa

    valid = _valid(values)
    filled = values if valid is None else [blank if v is None else v for v in values]
    data = np.fromiter(filled, dtype, len(values))
    return pa.Array.from_buffers(kind, len(values), [valid, pa.py_buffer(data)])


def _valid(values: Sequence[Any]) -> pa.Buffer | None:
    """The bitmap of the values that are there; None where all are."""
    import numpy as np

    return _bits(np.fromiter((v is not None for v in values), bool, len(values))) if None in values else None


def _bits(flags: np.ndarray) -> pa.Buffer:
    import numpy as np
    import pyarrow as pa

    return pa.py_buffer(np.packbits(flags, bitorder="little"))


def _coerce(value: Any, kind: pa.DataType) -> Any:
    import pyarrow as pa

    value = clean(value)
    if value is None:
        return None
    if pa.types.is_string(kind):
        return value if isinstance(value, str) else as_json(value) or str(value)
    try:
        return pa.scalar(value, kind).as_py()
    except UNFIT:
        pass
    try:
        if pa.types.is_integer(kind):
            return pa.scalar(int(float(value)), kind).as_py()
        if pa.types.is_floating(kind):
            return float(value)
    except UNFIT:
        pass
    return None
