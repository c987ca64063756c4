"""Values, ids and log records as OTLP JSON and the SDKs' exporters write them.

{"resourceLogs": [{"resource": {…}, "scopeLogs": [{"scope": {"name": "…"}, "logRecords": [{"timeUnixNano": "1772359202000000000",
 "eventName": "gen_ai.choice", "traceId": "5b8e…", "spanId": "eee1…", "attributes": […], "body": {"kvlistValue": {"values": […]}}}]}]}]}
{"hrTime": [1772359202, 0], "resource": {…}, "attributes": {"event.name": "…"}, "body": "…"}      a JavaScript SDK's own exporter
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from typing import Any

from insights.corpus.formats.payload import decoded
from insights.corpus.parse import mapping, mappings, sequence, word

LOGS = ("resourceLogs", "resource_logs")


def get(row: Mapping[str, Any], *keys: str) -> Any:
    return next((row[k] for k in keys if row.get(k) not in (None, "")), None)


def hex_id(value: Any) -> str | None:
    """An id as hexadecimal text: `0x` is taken off; base64, as generic protobuf writers make it, and lists of bytes are turned."""
    if isinstance(value, list) and value and all(isinstance(b, int) and 0 <= b < 256 for b in value):
        return bytes(value).hex()
    if not isinstance(value, str) or not value or not value.strip("0x"):
        return None
    if value.startswith("0x"):
        return value[2:]
    if value.endswith("=") and len(value) in (12, 24):
        try:
            return base64.b64decode(value, validate=True).hex()
        except binascii.Error:
            return value
    return value


def any_value(value: Any) -> Any:
    """What an OTLP AnyValue holds."""
    if not isinstance(value, dict):
        return value
    for kind in ("stringValue", "boolValue", "doubleValue", "string_value", "bool_value", "double_value"):
        if kind in value:
            return value[kind]
    whole = get(value, "intValue", "int_value")
    if whole is not None:
        return (
            int(whole)
            if isinstance(whole, int) or (isinstance(whole, str) and whole.lstrip("-").isdecimal())
            else whole
        )
    if "arrayValue" in value or "array_value" in value:
        return [any_value(v) for v in sequence(mapping(get(value, "arrayValue", "array_value")).get("values"))]
    if "kvlistValue" in value or "kvlist_value" in value:
        return attributes(mapping(get(value, "kvlistValue", "kvlist_value")).get("values"))
    return value.get("bytesValue") if "bytesValue" in value else value or None


def attributes(value: Any) -> dict[str, Any]:
    """Attributes as a mapping, from OTLP's list of pairs or from an object."""
    if isinstance(value, list):
        return {str(a["key"]): any_value(a.get("value")) for a in mappings(value) if "key" in a}
    held = mapping(decoded(value))
    return {str(k): v for k, v in held.items()}


def time_of(value: Any) -> Any:
    """A time of a span as `timestamp` takes it."""
    if (
        isinstance(value, list) and len(value) == 2 and all(isinstance(v, int) for v in value)
    ):  # seconds and nanoseconds
        return value[0] * 10**9 + value[1]
    if isinstance(value, str) and value.isdecimal():
        return int(value)
    return value.isoformat() if hasattr(value, "isoformat") else value


def is_logs(row: Mapping[str, Any]) -> bool:
    """Whether a record is an envelope of log records, or one as an SDK's own exporter writes it."""
    if any(isinstance(row.get(k), list) for k in LOGS):
        return True
    told = "hrTime" in row or "timestamp" in row or "timeUnixNano" in row or "observedTimestamp" in row
    return told and bool(word(mapping(row.get("attributes")).get("event.name"))) and "span_id" not in row


def log_records(row: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Log records of a record: name, time, body, attributes, resource, trace and span."""
    held = [r for k in LOGS for r in mappings(row.get(k))]
    if not held and is_logs(row):
        yield _log(row, {})
    for resource in held:
        about = attributes(mapping(resource.get("resource")).get("attributes"))
        for scope in [s for k in ("scopeLogs", "scope_logs") for s in mappings(resource.get(k))]:
            for log in [x for k in ("logRecords", "log_records") for x in mappings(scope.get(k))]:
                yield _log(log, about)


def _log(row: Mapping[str, Any], resource: Mapping[str, Any]) -> dict[str, Any]:
    told = attributes(row.get("attributes"))
    body = any_value(get(row, "body", "_body"))
    name = word(told.get("event.name")) or word(get(row, "eventName", "event_name")) or word(body)
    context = mapping(row.get("spanContext"))
    return {
        "name": name,
        "time": time_of(get(row, "timeUnixNano", "time_unix_nano", "hrTime", "timestamp", "observedTimeUnixNano")),
        "body": body,
        "attributes": told,
        "resource": {**attributes(mapping(row.get("resource")).get("attributes")), **resource},
        "trace": hex_id(get(row, "traceId", "trace_id") or context.get("traceId")),
        "span": hex_id(get(row, "spanId", "span_id") or context.get("spanId")),
    }
