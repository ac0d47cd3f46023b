"""What is counted, for Prometheus; served at `/metrics`. Labels never hold UIDs, names or other data of patients."""

from __future__ import annotations

import os

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, multiprocess

SHARED = "PROMETHEUS_MULTIPROC_DIR"
"""Environment variable with the folder by which processes add up what they count; the library reads it as it loads."""


def registry() -> CollectorRegistry:
    """What `/metrics` shows: of this process, or of all that share a folder."""
    if not os.environ.get(SHARED):
        return REGISTRY
    added = CollectorRegistry()
    multiprocess.MultiProcessCollector(added)  # type: ignore[no-untyped-call]
    return added


def ended(pid: int, folder: str) -> None:
    """Of a process that has ended, count no more what it had open."""
    multiprocess.mark_process_dead(pid, folder)  # type: ignore[no-untyped-call]


STORES = Counter("gantry_stores", "Instances offered for storing, by door and outcome.", ("door", "outcome"))
STORED_BYTES = Counter("gantry_stored_bytes", "Bytes of stored Part 10 files.", ("door",))
REQUESTS = Counter("gantry_http_requests", "HTTP requests, by route and status.", ("method", "route", "status"))
REQUEST_SECONDS = Histogram(
    "gantry_http_request_seconds",
    "Time from request to the end of the answer.",
    ("route",),
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
OPEN_REQUESTS = Gauge("gantry_http_open_requests", "HTTP requests being answered now.", multiprocess_mode="livesum")
ASSOCIATIONS = Counter("gantry_associations", "DICOM associations, by how they ended.", ("outcome",))
OPEN_ASSOCIATIONS = Gauge("gantry_open_associations", "DICOM associations open now.", multiprocess_mode="livesum")
CERTIFICATE_EXPIRY = Gauge(
    "gantry_certificate_expiry_seconds",
    "When the certificate of a listener with TLS expires, in Unix time, by door.",
    ("door",),
    multiprocess_mode="livemin",
)
OPERATIONS = Counter("gantry_dimse_operations", "DIMSE operations, by command and status class.", ("command", "status"))
OPERATION_SECONDS = Histogram(
    "gantry_dimse_operation_seconds",
    "Time from the last byte of a request to the first answer.",
    ("command",),
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
TASKS = Gauge(
    "gantry_tasks",
    "Tasks in the queue: forwarding, reports, notifications.",
    ("kind", "state"),
    multiprocess_mode="livemostrecent",
)
TASKS_DONE = Counter("gantry_tasks_done", "Attempts at tasks, by kind and outcome.", ("kind", "outcome"))
GARBAGE_COLLECTED = Counter("gantry_garbage_collected", "Objects of deleted or superseded instances removed.")
ORPHANS_REMOVED = Counter("gantry_orphans_removed", "Objects removed that nothing named.")
RENDITIONS_MADE = Counter("gantry_renditions_made", "Renditions made because none was kept: transcodings, pictures.")
DECODERS_KILLED = Counter(
    "gantry_decoder_killed", "Decoder processes stopped or dead, by reason: oom, cpu, timeout, crash.", ("reason",)
)
SPOOLED_BYTES = Gauge(
    "gantry_spooled_bytes", "Bytes that are being received, or wait to be stored.", multiprocess_mode="livesum"
)
STORES_TURNED_AWAY = Counter("gantry_stores_turned_away", "Senders told to come again, by door.", ("door",))
LOG_LINES_DROPPED = Counter("gantry_log_lines_dropped", "Log lines that nobody took, since their reader stands still.")
DAMAGED_INSTANCES = Gauge(
    "gantry_damaged_instances",
    "Instances whose object is known to be missing or damaged.",
    multiprocess_mode="livemostrecent",
)
SCRUBBED = Counter("gantry_scrubbed", "Objects read again and compared with their digest, by outcome.", ("outcome",))
SCRUBBED_BYTES = Counter("gantry_scrubbed_bytes", "Bytes of objects read again by the scrubber.")
AUDIT_EVENTS = Counter("gantry_audit_events", "Events written to the audit log.")
AUDIT_LOST = Counter("gantry_audit_lost", "Events that could not be written to the audit log.")
AUDIT_SENT = Counter("gantry_audit_sent", "Events told to an audit record repository, by kind.", ("kind",))
INDEX_BEHIND = Gauge(
    "gantry_index_behind",
    "1 where the index is older than the stored objects, and has to be reconciled.",
    multiprocess_mode="livemostrecent",
)
DAMAGED = Counter("gantry_integrity_errors", "Objects found missing or damaged.")
