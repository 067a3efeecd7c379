"""Django settings. Environments differ by variables only, listed in `.env.example`."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import dj_database_url
from celery.schedules import crontab

from istore import env
from istore.home import Home

BASE_DIR = Path(__file__).resolve().parent.parent
ISTORE_HOME = Home.from_environment()

DEBUG = env.flag("ISTORE_DEBUG", default=False)
TESTING = env.flag("ISTORE_TESTING", default=False)
SECRET_KEY = env.text("ISTORE_SECRET_KEY") or ISTORE_HOME.secret("secret_key")
# The key that signs links to blobs differs from the one that signs browser sessions.
ISTORE_SIGNING_KEY = env.text("ISTORE_SIGNING_KEY") or ISTORE_HOME.secret("signing_key")
# The token with which Prometheus reads /metrics.
ISTORE_METRICS_TOKEN = env.text("ISTORE_METRICS_TOKEN") or ISTORE_HOME.secret(
    "metrics_token"
)

# -- addresses

ISTORE_HOST = env.text("ISTORE_HOST", "127.0.0.1")
ISTORE_PORT = env.number("ISTORE_PORT", 8000, least=1, most=65535)
ISTORE_PROXY_PORT = env.number("ISTORE_PROXY_PORT", 8001, least=1, most=65535)
# Where roles that serve nothing else tell their metrics: of a process that is started by
# itself its port, under ``up`` the first of one for each role; 0: nowhere.
ISTORE_METRICS_PORT = env.number("ISTORE_METRICS_PORT", 0, most=65535)
# Each has a spool, connections and memory of its own, and limits of these.
ISTORE_PROXY_WORKERS = env.number("ISTORE_PROXY_WORKERS", 1, least=1, most=64)
# Fewer processes and a smaller database, for machines of 1 GB: see docs/operations.md.
ISTORE_SMALL = env.flag("ISTORE_SMALL", default=False)
ISTORE_WEB_WORKERS = env.number("ISTORE_WEB_WORKERS", 1 if ISTORE_SMALL else 2, least=1)
ALLOWED_HOSTS = env.listed("ISTORE_ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
# Public URLs of web and proxy, if they differ from what the processes listen on.
_here = {"0.0.0.0": "localhost", "::": "localhost"}.get(ISTORE_HOST, ISTORE_HOST)
_here = f"[{_here}]" if ":" in _here else _here
_within = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(ISTORE_HOST, _here)
ISTORE_URL = env.text("ISTORE_PUBLIC_URL", f"http://{_here}:{ISTORE_PORT}")
ISTORE_PROXY_URL = env.text(
    "ISTORE_PUBLIC_PROXY_URL", f"http://{_here}:{ISTORE_PROXY_PORT}"
)

# At SIGTERM: readiness is refused for so long while calls still come, calls in flight are then
# given so long, and a proxy waits so long until its spool is empty.
ISTORE_DRAIN_SECONDS = env.number("ISTORE_DRAIN_SECONDS", 0, most=600)
ISTORE_GRACE_SECONDS = env.number("ISTORE_GRACE_SECONDS", 3, least=1, most=600)
ISTORE_DRAIN_SPOOL_SECONDS = env.number("ISTORE_DRAIN_SPOOL_SECONDS", 0, most=3600)

# Proxies whose X-Forwarded-For, -Proto and -Host are trusted, as addresses or networks.
ISTORE_BEHIND_TLS_PROXY = env.flag("ISTORE_BEHIND_TLS_PROXY", default=False)
ISTORE_TRUSTED_PROXIES = env.networks(
    "ISTORE_TRUSTED_PROXIES", "127.0.0.1,::1" if ISTORE_BEHIND_TLS_PROXY else ""
)

# -- limits: the reliability page says what each is for

KIB, MIB, GIB = 1024, 1024**2, 1024**3
ISTORE_API_MAX_BODY_BYTES = env.size("ISTORE_API_MAX_BODY_BYTES", 8 * MIB)
ISTORE_JSON_MAX_DEPTH = env.number("ISTORE_JSON_MAX_DEPTH", 64, least=1, most=500)
# Of a request of spans, decompressed.
ISTORE_OTLP_MAX_BYTES = env.size("ISTORE_OTLP_MAX_BYTES", 64 * MIB)
# Of a stored request that is read as text, by pages, exports and searches alike.
ISTORE_REQUEST_MAX_BYTES = env.size("ISTORE_REQUEST_MAX_BYTES", 64 * MIB)
ISTORE_OTLP_MAX_VALUES = env.number("ISTORE_OTLP_MAX_VALUES", 2_000_000, least=1000)
# Numbers, texts and names; a list or an object counts four.
ISTORE_JSON_MAX_VALUES = env.number("ISTORE_JSON_MAX_VALUES", 500_000, least=1000)
# A batch of more rows is one inference.
ISTORE_REQUEST_PARTS_MAX = env.number("ISTORE_REQUEST_PARTS_MAX", 256, least=1)
ISTORE_ID_MAX_CHARS = env.number("ISTORE_ID_MAX_CHARS", 255, least=1, most=255)
ISTORE_METADATA_MAX_ITEMS = env.number("ISTORE_METADATA_MAX_ITEMS", 100)
ISTORE_METADATA_KEY_MAX_CHARS = env.number(
    "ISTORE_METADATA_KEY_MAX_CHARS", 256, least=1, most=256
)
ISTORE_METADATA_VALUE_MAX_BYTES = env.size("ISTORE_METADATA_VALUE_MAX_BYTES", 64 * KIB)
ISTORE_FILTER_MAX_CONDITIONS = env.number("ISTORE_FILTER_MAX_CONDITIONS", 32, least=1)
ISTORE_FILTER_MAX_VALUES = env.number("ISTORE_FILTER_MAX_VALUES", 1000, least=1)
ISTORE_PAGE_MAX = env.number("ISTORE_PAGE_MAX", 1000, least=1)
# Bytes of answers and inputs together that the fields of one page are read from.
ISTORE_FIELDS_MAX_BYTES = env.size("ISTORE_FIELDS_MAX_BYTES", 32 * MIB)
ISTORE_DETECTIONS_MAX = env.number("ISTORE_DETECTIONS_MAX", 10_000, least=1)
ISTORE_EMBEDDING_MAX = env.number("ISTORE_EMBEDDING_MAX", 16_000, least=1, most=16_000)
# Memory that the build of one vector index takes at most.
ISTORE_VECTOR_INDEX_BYTES = env.size("ISTORE_VECTOR_INDEX_BYTES", 2048 * MIB)
ISTORE_IMAGE_MAX_PIXELS = env.number("ISTORE_IMAGE_MAX_PIXELS", 50_000_000, least=1)
ISTORE_ANSWER_INLINE_BYTES = env.size("ISTORE_ANSWER_INLINE_BYTES", 256 * KIB)
ISTORE_QUERY_SECONDS = env.number("ISTORE_QUERY_SECONDS", 5, least=1)
ISTORE_LOCK_SECONDS = env.number("ISTORE_LOCK_SECONDS", 2, least=1)
ISTORE_PRESIGN_SECONDS = env.number("ISTORE_PRESIGN_SECONDS", 900, least=1)
ISTORE_UPLOAD_MAX_BYTES = env.size("ISTORE_UPLOAD_MAX_BYTES", 256 * MIB)
ISTORE_UPLOAD_GRANT_HOURS = env.number("ISTORE_UPLOAD_GRANT_HOURS", 24, least=1)
ISTORE_UPLOAD_GRANTS_OPEN = env.number("ISTORE_UPLOAD_GRANTS_OPEN", 1000, least=1)
ISTORE_RATE_PER_MINUTE = env.number("ISTORE_RATE_PER_MINUTE", 60_000)
# A proxy carries more calls than the web server: its default only stops runaway clients.
ISTORE_PROXY_RATE_PER_MINUTE = env.number(
    "ISTORE_PROXY_RATE_PER_MINUTE",
    ISTORE_RATE_PER_MINUTE if env.text("ISTORE_RATE_PER_MINUTE") else 600_000,
)
# At the proxy, for each address: a wrong token costs a question to the database.
ISTORE_WRONG_TOKENS_PER_MINUTE = env.number(
    "ISTORE_WRONG_TOKENS_PER_MINUTE", min(60, ISTORE_RATE_PER_MINUTE or 60)
)

ISTORE_PROXY_MAX_REQUEST_BYTES = env.size("ISTORE_PROXY_MAX_REQUEST_BYTES", 64 * MIB)
ISTORE_PROXY_MAX_RESPONSE_BYTES = env.size("ISTORE_PROXY_MAX_RESPONSE_BYTES", 256 * MIB)
ISTORE_CAPTURE_MAX_BYTES = env.size("ISTORE_CAPTURE_MAX_BYTES", 64 * MIB)
ISTORE_PROXY_MAX_INFLIGHT_BYTES = env.size("ISTORE_PROXY_MAX_INFLIGHT_BYTES", 512 * MIB)
ISTORE_UPSTREAM_CONNECT_SECONDS = env.number("ISTORE_UPSTREAM_CONNECT_SECONDS", 5)
ISTORE_UPSTREAM_TOTAL_SECONDS = env.number("ISTORE_UPSTREAM_TOTAL_SECONDS", 60)
ISTORE_UPSTREAM_CONCURRENCY = env.number("ISTORE_UPSTREAM_CONCURRENCY", 64, least=1)
# A store that is reachable only from its own machine may call the model servers beside it:
# whoever can register one is on this machine already. Otherwise no private address is
# allowed. A reverse proxy on the same machine makes the store reachable from elsewhere.
_BESIDE = "127.0.0.1,localhost,::1"
ISTORE_IS_LOCAL = (
    ISTORE_HOST in ("127.0.0.1", "localhost", "::1")
    and not ISTORE_TRUSTED_PROXIES
    and all(map(env.is_this_machine, (ISTORE_URL, ISTORE_PROXY_URL, *ALLOWED_HOSTS)))
)
ISTORE_UPSTREAM_ALLOW = env.listed(
    "ISTORE_UPSTREAM_ALLOW", _BESIDE if ISTORE_IS_LOCAL else ""
)
ISTORE_CLIENT_BODY_SECONDS = env.number("ISTORE_CLIENT_BODY_SECONDS", 30, least=1)
ISTORE_SPOOL_DIR = Path(
    env.text("ISTORE_SPOOL_DIR", str(ISTORE_HOME.root / "spool"))
).expanduser()
ISTORE_SPOOL_MAX_BYTES = env.size("ISTORE_SPOOL_MAX_BYTES", 2 * GIB)
ISTORE_SPOOL_DEADLINE_MS = env.number("ISTORE_SPOOL_DEADLINE_MS", 50, least=1)
# How long the proxy serves known calls from memory while it cannot reach the database.
ISTORE_PROXY_STALE_SECONDS = env.number("ISTORE_PROXY_STALE_SECONDS", 300)
ISTORE_SPOOL_DEADLINE_MAX_MS = env.number("ISTORE_SPOOL_DEADLINE_MAX_MS", 1000, least=1)
ISTORE_SPOOL_SYNC_SECONDS = env.number("ISTORE_SPOOL_SYNC_SECONDS", 10, least=1)
# An entry that has waited longer in the spool makes readiness "degraded".
ISTORE_SPOOL_WARN_SECONDS = env.number("ISTORE_SPOOL_WARN_SECONDS", 60, least=1)
ISTORE_CAPTURE_CONCURRENCY = env.number("ISTORE_CAPTURE_CONCURRENCY", 16, least=1)
# Inferences are kept in packs: see docs/reference/pack-format.md.
ISTORE_PACK_BYTES = env.size("ISTORE_PACK_BYTES", 8 * MIB)
ISTORE_PACK_MEMBER_BYTES = env.size("ISTORE_PACK_MEMBER_BYTES", MIB)
ISTORE_PACK_LINGER_MS = env.number("ISTORE_PACK_LINGER_MS", 2000)
ISTORE_PACK_COMPACT_MINUTES = env.number("ISTORE_PACK_COMPACT_MINUTES", 60)
ISTORE_EVENT_DELIVERIES = env.number("ISTORE_EVENT_DELIVERIES", 5, least=1)
ISTORE_EVENT_IDLE_SECONDS = env.number("ISTORE_EVENT_IDLE_SECONDS", 30, least=1)
ISTORE_LISTENER_BATCH = env.number("ISTORE_LISTENER_BATCH", 1000, least=1, most=10_000)
ISTORE_RECONCILE_MINUTES = env.number("ISTORE_RECONCILE_MINUTES", 5, least=1)
ISTORE_RECONCILE_HOURS = env.number("ISTORE_RECONCILE_HOURS", 48, least=1)
ISTORE_CLOCK_SKEW_MAX_SECONDS = env.number("ISTORE_CLOCK_SKEW_MAX_SECONDS", 300)
ISTORE_REMOVAL_BATCH = env.number("ISTORE_REMOVAL_BATCH", 2500, least=1, most=50_000)
ISTORE_BULK_DELETE_MAX = env.number("ISTORE_BULK_DELETE_MAX", 100_000, least=1)
ISTORE_TASK_LEASE_SECONDS = env.number("ISTORE_TASK_LEASE_SECONDS", 60, least=5)
ISTORE_TASK_ATTEMPTS = env.number("ISTORE_TASK_ATTEMPTS", 3, least=1)
ISTORE_EXPORT_MAX = env.number("ISTORE_EXPORT_MAX", 1_000_000, least=1)
ISTORE_EXPORTS_RUNNING = env.number("ISTORE_EXPORTS_RUNNING", 5, least=1)
ISTORE_EXPORT_HOURS = env.number("ISTORE_EXPORT_HOURS", 72, least=1)
# Inference sessions. The file, if given, lists the commands that services may name.
_processes_file = env.text("ISTORE_PROCESSES_FILE")
ISTORE_PROCESSES_FILE = (
    Path(_processes_file).expanduser().absolute() if _processes_file else None
)
# The URL under which this process forwards calls of sessions to the proxy.
ISTORE_PROXY_INTERNAL_URL = env.text(
    "ISTORE_PROXY_INTERNAL_URL",
    f"http://{_within}:{ISTORE_PROXY_PORT}",
)
ISTORE_SESSION_HOURS = env.number("ISTORE_SESSION_HOURS", 24, least=1)
ISTORE_SESSION_HOURS_MAX = env.number("ISTORE_SESSION_HOURS_MAX", 720, least=1)
ISTORE_SESSION_REPLICAS_MAX = env.number(
    "ISTORE_SESSION_REPLICAS_MAX", 8, least=1, most=64
)
ISTORE_SESSION_START_SECONDS = env.number("ISTORE_SESSION_START_SECONDS", 600, least=1)
ISTORE_SESSIONS_OPEN = env.number("ISTORE_SESSIONS_OPEN", 100, least=1)
ISTORE_TOMBSTONE_DAYS = env.number("ISTORE_TOMBSTONE_DAYS", 30, least=1)
# How long an id that the proxy has reserved is held for a copy that has not arrived.
ISTORE_RESERVATION_HOURS = env.number("ISTORE_RESERVATION_HOURS", 168, least=1)
# How long a call waits for the database to settle the id it asks for.
ISTORE_ID_DEADLINE_MS = env.number("ISTORE_ID_DEADLINE_MS", 1000, least=1)
ISTORE_PENDING_TRUTH_DAYS = env.number("ISTORE_PENDING_TRUTH_DAYS", 90, least=1)
# Rows of one file of ground truth: joined in the request, and the maximum for a worker.
ISTORE_TRUTHS_AT_ONCE = env.number("ISTORE_TRUTHS_AT_ONCE", 10_000, least=1)
ISTORE_TRUTH_FILE_ROWS = env.number("ISTORE_TRUTH_FILE_ROWS", 5_000_000, least=1)
# Points of a map of embeddings: drawn at once, and laid out by a worker.
ISTORE_MAP_POINTS = env.number("ISTORE_MAP_POINTS", 20_000, least=100)
ISTORE_QUALITY_ROWS = env.number("ISTORE_QUALITY_ROWS", 100_000, least=1)
ISTORE_SOFT_DELETE_DAYS = env.number("ISTORE_SOFT_DELETE_DAYS", 30)
ISTORE_VERIFY_GRACE_HOURS = env.number("ISTORE_VERIFY_GRACE_HOURS", 24, least=1)
# With fewer days of partitions ahead, /health/ready is "degraded".
ISTORE_PARTITION_WARN_DAYS = env.number("ISTORE_PARTITION_WARN_DAYS", 14, least=1)

# -- sizes of steps: no environment variables, because only tests need other ones

ISTORE_CLASS_MIGRATION_BATCH = 1000  # rows of one transaction
ISTORE_COUNT_AT_ONCE = 20_000  # takes a few ms; larger counts come by another request
ISTORE_EMPTY_PARTITION_BYTES = 8 * MIB  # a new partition with its indexes has a tenth
ISTORE_EXPORT_BATCH = 200  # members that are read together
ISTORE_EXPORT_ROW_GROUP = 5_000  # rows of a statement, and of a row group of Parquet
ISTORE_EXPORT_SET_PART = 10_000  # row ids in one row of a fixed set, which is an array
ISTORE_EXPORT_SHARD_SAMPLES = 10_000
ISTORE_LISTENER_PORTION_BYTES = 16 * MIB  # answers of one statement
ISTORE_MULTIPART_BYTES = 16 * MIB  # S3 takes 10,000 parts: 160 GB
ISTORE_PROCESS_RESTART_SECONDS = 0.5  # the first pause; it doubles with each failure
ISTORE_QUALITY_PAGE_ROWS = 10_000  # measured by default; a link asks for all
ISTORE_VERIFY_WINDOW = 20_000  # rows of one statement

# -- database, cache, broker: the embedded servers unless a URL names others

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"


def _database_at(name: str) -> dict[str, Any] | None:
    """Return the database that a variable names by its URL, or None."""
    url = env.text(name)
    if not url:
        return None
    try:
        found: dict[str, Any] = dict(dj_database_url.parse(url))
    except ValueError as error:
        raise env.Malformed(name, str(error)) from None
    if found.get("ENGINE") != "django.db.backends.postgresql":
        raise env.Malformed(name, "only postgresql:// is understood.")
    if password := env.text("ISTORE_DATABASE_PASSWORD"):
        found["PASSWORD"] = password
    return {**found, "ENGINE": "istore.db.postgresql"}  # fixes the session settings


if env.text("ISTORE_DATABASE_PASSWORD") and not env.text("ISTORE_DATABASE_URL"):
    raise env.Malformed("ISTORE_DATABASE_PASSWORD", "ISTORE_DATABASE_URL is missing.")
_database = _database_at("ISTORE_DATABASE_URL") or {
    "ENGINE": "istore.db.postgresql",
    "NAME": "istore",
    "USER": "istore_app",  # no superuser: see supervisor.embedded
    "PASSWORD": ISTORE_HOME.secret("pg_app_password"),
    "HOST": str(ISTORE_HOME.run),
}
DATABASES = {"default": _database}
_database.setdefault("OPTIONS", {})
# The same database past a pooler, for what needs a session (``istore.db.other_servers``). If it is
# given, ISTORE_DATABASE_URL may name a pooler that gives a connection for a transaction only.
ISTORE_DIRECT_DATABASE = _database_at("ISTORE_DIRECT_DATABASE_URL")
# A streaming replica that lists, statistics and exports are read from (``istore.db.replica``).
ISTORE_REPLICA_DATABASE = _database_at("ISTORE_REPLICA_URL")
if ISTORE_REPLICA_DATABASE:  # callers do not wait for a host that is gone
    ISTORE_REPLICA_DATABASE["OPTIONS"] = {
        "connect_timeout": 2,
        "tcp_user_timeout": 5000,
        **ISTORE_REPLICA_DATABASE.get("OPTIONS", {}),
    }
for _name, _given in (
    ("ISTORE_DIRECT_DATABASE_URL", ISTORE_DIRECT_DATABASE),
    ("ISTORE_REPLICA_URL", ISTORE_REPLICA_DATABASE),
):
    if _given and not env.text("ISTORE_DATABASE_URL"):
        raise env.Malformed(_name, "needs ISTORE_DATABASE_URL.")
# A replica that is further behind is left out.
ISTORE_REPLICA_LAG_SECONDS = env.number(
    "ISTORE_REPLICA_LAG_SECONDS", 30, least=1, most=3600
)
# The schemas in which tables are found and created, whatever the role's own path is.
ISTORE_DATABASE_SEARCH_PATH = env.text("ISTORE_DATABASE_SEARCH_PATH", '"$user", public')
_database["TEST"] = {"NAME": "istore_test"}

_redis_url = env.text("ISTORE_REDIS_URL")
if _redis_url and not _redis_url.startswith(("redis://", "rediss://", "unix://")):
    raise env.Malformed(
        "ISTORE_REDIS_URL", "redis://, rediss:// or unix:// is understood."
    )
if _password := env.text("ISTORE_REDIS_PASSWORD"):
    if not _redis_url.startswith(("redis://", "rediss://")):
        raise env.Malformed(
            "ISTORE_REDIS_PASSWORD", "ISTORE_REDIS_URL is no redis:// or rediss:// URL."
        )
    _redis_url = env.with_password(_redis_url, _password)
_redis_socket = ISTORE_HOME.run / "redis.sock"
ISTORE_REDIS_URL = _redis_url or f"unix://{quote(str(_redis_socket))}?db=0"
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": ISTORE_REDIS_URL,
        "KEY_PREFIX": "istore",
        # The cache is best effort: a page does not wait longer for it.
        "OPTIONS": {
            "parser_class": "istore.tasks.broker.BoundedParser",
            "protocol": 2,
            "socket_timeout": 2,
            "socket_connect_timeout": 2,
        },
    }
}
SESSION_ENGINE = "django.contrib.sessions.backends.db"

CELERY_BROKER_URL = ISTORE_REDIS_URL
if ISTORE_REDIS_URL.startswith("unix://"):  # Celery has another URL form for sockets
    _socket, _, _query = ISTORE_REDIS_URL.removeprefix("unix://").partition("?")
    CELERY_BROKER_URL = (
        f"redis+socket://{_socket}?{_query.replace('db=', 'virtual_host=')}"
    )
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 3600,
    # Longer than a blocking read of the worker, which lasts ten seconds.
    "socket_timeout": 20,
    "socket_connect_timeout": 5,
    "socket_keepalive": True,
}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TIMEZONE = "UTC"
# Archives and layouts of embeddings take minutes, and have a worker of their own.
CELERY_TASK_ROUTES = {
    name: {"queue": "exports"}
    for name in (
        "exports.tasks.run_export_task",
        "exports.tasks.run_scheduled_export",
        "exports.tasks.tend_lake",
        "datasets.tasks.run_adding_task",
        "datasets.tasks.run_archive_task",
        "inferences.tasks.index_texts",
        "inferences.tasks.lay_out_embeddings",
        "istore.tasks.run_backup",
    )
}
CELERY_BEAT_SCHEDULER = "istore.tasks.beat:SteadyScheduler"
# A few fixed entries: the intervals of policies are rows. A message that was not begun
# before the next one is due expires.
CELERY_BEAT_SCHEDULE = {
    "reconcile": {
        "task": "ingest.tasks.reconcile",
        "schedule": timedelta(minutes=ISTORE_RECONCILE_MINUTES),
        "options": {"expires": 60 * ISTORE_RECONCILE_MINUTES},
    },
    # Makes sixty days ahead. Once a day would do, but a machine may be off at that hour.
    "make partitions": {
        "task": "inferences.tasks.make_partitions",
        "schedule": crontab(minute=17, hour="*/6"),
        "options": {"expires": 3600},
    },
    "give back disk space": {
        "task": "inferences.tasks.give_back_disk_space",
        "schedule": crontab(minute=27, hour="*/6"),
        "options": {"expires": 3600},
    },
    "compact metadata counts": {
        "task": "inferences.tasks.compact_metadata_counts",
        "schedule": crontab(minute=37),
        "options": {"expires": 3600},
    },
    "expire pending truths": {
        "task": "inferences.tasks.give_up_pending_truths",
        "schedule": crontab(minute=47),
        "options": {"expires": 3600},
    },
    # Entries of deleted datasets, and inputs that no entry needs any more.
    "collect datasets": {
        "task": "datasets.tasks.collect_datasets",
        "schedule": timedelta(minutes=5),
        "options": {"expires": 300},
    },
    # Expired archives, and files that broken attempts left behind.
    "collect archives": {
        "task": "exports.tasks.collect_archives",
        "schedule": timedelta(minutes=5),
        "options": {"expires": 300},
    },
    # The table decides which schedule is due.
    "start due schedules": {
        "task": "exports.tasks.start_due_schedules",
        "schedule": timedelta(minutes=1),
        "options": {"expires": 60},
    },
    # Small files become one, and old snapshots go with their files.
    "tend the lake": {
        "task": "exports.tasks.tend_lake",
        "schedule": crontab(minute=19),
        "options": {"expires": 3600},
    },
    # Intents whose worker died, or whose queue message was lost.
    "finish removals": {
        "task": "inferences.tasks.finish_removals",
        "schedule": timedelta(minutes=1),
        "options": {"expires": 60},
    },
    # Spans that processes of an older release wrote while the store was upgraded.
    "fill columns of spans": {
        "task": "traces.tasks.fill_columns_of_spans",
        "schedule": crontab(minute="*/10"),
        "options": {"expires": 600},
    },
    # Reservations of a proxy that died before the call was in its spool.
    "free reservations": {
        "task": "ingest.tasks.free_reservations",
        "schedule": crontab(minute=41),
        "options": {"expires": 3600},
    },
    # Building an index takes minutes; a second build of it is not begun.
    "build vector indexes": {
        "task": "inferences.tasks.tend_vectors",
        "schedule": timedelta(minutes=5),
        "options": {"expires": 300},
    },
    # Places vectors that came after a model's map of embeddings.
    "extend embedding maps": {
        "task": "inferences.tasks.extend_embedding_maps",
        "schedule": timedelta(minutes=5),
        "options": {"expires": 300},
    },
    # Converts older records, whose labels are not only the best class, until none is left.
    "tell classes apart": {
        "task": "inferences.tasks.tell_classes_apart",
        "schedule": timedelta(minutes=1),
        "options": {"expires": 60},
    },
    # Of models that an upgrade has marked: the words of what was stored before it.
    "start text indexes": {
        "task": "inferences.tasks.start_text_indexes",
        "schedule": timedelta(minutes=1),
        "options": {"expires": 60},
    },
    # Queries scan the newest rows until a zone map covers them.
    "seal segments": {
        "task": "inferences.tasks.seal_segments",
        "schedule": timedelta(minutes=1),
        "options": {"expires": 60},
    },
    # The table decides which retention policy is due.
    "start due policies": {
        "task": "retention.tasks.start_due_policies",
        "schedule": timedelta(minutes=1),
        "options": {"expires": 60},
    },
    # Tasks whose worker died, or whose queue message was lost.
    "requeue stale tasks": {
        "task": "istore.tasks.ring_again",
        "schedule": timedelta(seconds=30),
        "options": {"expires": 30},
    },
    # Asks servers that are starting whether they are ready, and ends expired sessions.
    "tend sessions": {
        "task": "services.tasks.tend_sessions",
        "schedule": timedelta(seconds=5),
        "options": {"expires": 5},
    },
    "forget old calls": {
        "task": "istore.tasks.forget_old_calls",
        "schedule": crontab(minute=27),
        "options": {"expires": 3600},
    },
    "remove what was soft-deleted long ago": {
        "task": "inferences.tasks.remove_soft_deleted",
        "schedule": crontab(minute=7),
        "options": {"expires": 3600},
    },
    "rewrite packs": {
        "task": "inferences.tasks.rewrite_packs",
        "schedule": timedelta(minutes=1),
        "options": {"expires": 60},
    },
    "measure storage": {
        "task": "inferences.tasks.measure_storage",
        "schedule": crontab(minute=33, hour="*/6"),
        "options": {"expires": 3600},
    },
    "collect uploads": {
        "task": "inferences.tasks.collect_uploads",
        "schedule": crontab(minute=51),
        "options": {"expires": 3600},
    },
    # The table of backups decides whether one is due.
    "start due backup": {
        "task": "istore.tasks.start_due_backup",
        "schedule": timedelta(minutes=1),
        "options": {"expires": 60},
    },
    "collect": {
        "task": "istore.tasks.collect",
        "schedule": crontab(minute=57),
        "options": {"expires": 3600},
    },
    "verify": {
        "task": "istore.tasks.verify",
        "schedule": crontab(hour=2, minute=23),
        "options": {"expires": 6 * 3600},
    },
    "purge tombstones": {
        "task": "inferences.tasks.free_tombstones",
        "schedule": crontab(minute=47),
        "options": {"expires": 3600},
    },
}

# -- blobs

STORAGES: dict[str, dict[str, Any]] = {
    "default": {
        "BACKEND": "istore.blobs.local_storage.LocalStorage",
        "OPTIONS": {"location": str(ISTORE_HOME.root / "blobs")},
    },
    "staticfiles": {"BACKEND": "istore.web.static.StaticStorage"},
}


def _s3(variables: str, prefix: str = "") -> dict[str, object]:
    """Return the storage of a bucket whose variables begin with ``variables``."""
    encryption = env.choice(
        f"{variables}_ENCRYPTION", "", ("", "AES256", "aws:kms", "aws:kms:dsse")
    )
    kms_key = env.text(f"{variables}_KMS_KEY")
    if kms_key and not encryption.startswith("aws:kms"):
        raise env.Malformed(
            f"{variables}_KMS_KEY", f"needs {variables}_ENCRYPTION=aws:kms."
        )
    token = env.text(f"{variables}_SESSION_TOKEN")
    if token and not env.text(f"{variables}_ACCESS_KEY"):
        raise env.Malformed(
            f"{variables}_SESSION_TOKEN", f"needs {variables}_ACCESS_KEY."
        )
    return {
        "BACKEND": "istore.blobs.s3_storage.S3Storage",
        "OPTIONS": {
            "bucket_name": env.text(f"{variables}_BUCKET"),
            "endpoint_url": env.endpoint(f"{variables}_ENDPOINT"),
            "access_key": env.text(f"{variables}_ACCESS_KEY") or None,
            "secret_key": env.text(f"{variables}_SECRET_KEY") or None,
            "security_token": token or None,
            "region_name": env.text(f"{variables}_REGION") or None,
            "verify": env.file(f"{variables}_CA_BUNDLE"),
            "public_endpoint_url": env.endpoint(f"{variables}_PUBLIC_ENDPOINT"),
            "location": prefix,
            "encryption": encryption or None,
            "kms_key": kms_key or None,
            "file_overwrite": True,
            "default_acl": None,
            "querystring_expire": ISTORE_PRESIGN_SECONDS,
            "addressing_style": env.choice(
                f"{variables}_ADDRESSING", "path", ("path", "virtual")
            ),
            "signature_version": "s3v4",
        },
    }


if env.text("ISTORE_S3_BUCKET"):
    STORAGES["default"] = _s3("ISTORE_S3", env.key_prefix("ISTORE_S3_PREFIX"))
# The key prefix in each bucket that scheduled exports may write to, by name.
ISTORE_EXPORT_DESTINATIONS: dict[str, str] = {}
for _name in env.listed("ISTORE_EXPORT_DESTINATIONS"):
    _variables = f"ISTORE_EXPORT_{_name.upper()}"
    if not _name.replace("_", "").isalnum() or len(_name) > 64:
        raise env.Malformed(
            "ISTORE_EXPORT_DESTINATIONS", f"{_name!r} is not letters, digits and '_'."
        )
    if not env.text(f"{_variables}_BUCKET"):
        raise env.Malformed(f"{_variables}_BUCKET", "names no bucket.")
    STORAGES[f"export:{_name}"] = _s3(_variables)
    ISTORE_EXPORT_DESTINATIONS[_name] = env.text(f"{_variables}_PREFIX").strip("/")
# Backups: a folder or s3://bucket/prefix, hours between two (0: by the command alone), and how
# many are kept. The bucket's server and credentials are variables like those of ISTORE_S3.
ISTORE_BACKUP_TARGET = env.text("ISTORE_BACKUP_TARGET")
if ISTORE_BACKUP_TARGET and not ISTORE_BACKUP_TARGET.startswith(("/", "s3://")):
    raise env.Malformed(
        "ISTORE_BACKUP_TARGET",
        f"{ISTORE_BACKUP_TARGET!r} is neither an absolute path nor s3://bucket/prefix.",
    )
ISTORE_BACKUP_EVERY_HOURS = env.number("ISTORE_BACKUP_EVERY_HOURS", 24)
ISTORE_BACKUP_KEEP = env.number("ISTORE_BACKUP_KEEP", 7, least=1)
_has_own = env.text("ISTORE_BACKUP_ENDPOINT") or env.text("ISTORE_BACKUP_ACCESS_KEY")
ISTORE_BACKUP_S3: Any = _s3("ISTORE_BACKUP" if _has_own else "ISTORE_S3")["OPTIONS"]
# The lake. Its catalogue is in the database unless a REST catalogue is named; its files are in the
# blob store. Snapshots older than so many hours go, and small files of a day become one.
ISTORE_LAKE_CATALOG_URL = env.endpoint("ISTORE_LAKE_CATALOG_URL") or ""
ISTORE_LAKE_CATALOG_TOKEN = env.text("ISTORE_LAKE_CATALOG_TOKEN")
ISTORE_LAKE_CATALOG_CREDENTIAL = env.text("ISTORE_LAKE_CATALOG_CREDENTIAL")
ISTORE_LAKE_CATALOG_WAREHOUSE = env.text("ISTORE_LAKE_CATALOG_WAREHOUSE")
ISTORE_LAKE_SNAPSHOT_HOURS = env.number("ISTORE_LAKE_SNAPSHOT_HOURS", 72, least=1)
ISTORE_LAKE_SMALL_BYTES = env.size("ISTORE_LAKE_SMALL_BYTES", 32 * MIB)
ISTORE_LAKE_SMALL_FILES = env.number("ISTORE_LAKE_SMALL_FILES", 8, least=2)
# One query of the lake: its time, the memory of its process, its rows, and how many at once.
ISTORE_LAKE_QUERY_SECONDS = env.number("ISTORE_LAKE_QUERY_SECONDS", 30, least=1)
ISTORE_LAKE_QUERY_BYTES = env.size("ISTORE_LAKE_QUERY_BYTES", 512 * MIB)
ISTORE_LAKE_QUERY_ROWS = env.number("ISTORE_LAKE_QUERY_ROWS", 10_000, least=1)
ISTORE_LAKE_QUERIES = env.number("ISTORE_LAKE_QUERIES", 2, least=1)
ISTORE_SCHEDULED_EXPORT_ROWS = env.number(
    "ISTORE_SCHEDULED_EXPORT_ROWS", 100_000, least=1, most=1_000_000
)

# -- the application

INSTALLED_APPS = [
    "istore",
    "inferences",
    "quality",
    "exports",
    "datasets",
    "ingest",
    "traces",
    "proxy",
    "retention",
    "services",
    "supervisor",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.postgres",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "rest_framework",
    "django_filters",
    "django_htmx",
    "template_partials",
    "corsheaders",
    "csp",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_structlog",
]
MIDDLEWARE = [
    "istore.telemetry.web_requests.observing",
    "istore.web.client_address.believing_trusted_proxies",
    "istore.freshness.middleware",  # waits until proxies know what changed
    "istore.db.replica.middleware",  # callers do not read what is older than their writes
    "istore.web.request_checks.RequestChecks",
    "istore.api.token_calls.TokenCalls",  # what follows is for pages and browsers
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "istore.web.request_logs.RequestLogMiddleware",
    "istore.views.limiting_calls",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "istore.views.telling_not_allowed",
    "istore.addresses.NamedProject",
]
ROOT_URLCONF = "istore.urls"
WSGI_APPLICATION = "istore.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
USE_I18N = False
FORMAT_MODULE_PATH = "istore.formats"
APPEND_SLASH = False

STATIC_URL = "static/"
# An image has them collected already: see istore.web.static_files.
ISTORE_STATIC_DIR = env.text("ISTORE_STATIC_DIR")
STATIC_ROOT = Path(ISTORE_STATIC_DIR or ISTORE_HOME.root / "static")
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = WHITENOISE_AUTOREFRESH = DEBUG or TESTING

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "login"

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "istore.api.access.BearerAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["istore.api.access.Denied"],
    "DEFAULT_PARSER_CLASSES": ["istore.api.parsing.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["istore.api.parsing.JSONRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "istore.api.parsing.Negotiation",
    "DEFAULT_SCHEMA_CLASS": "istore.api.schema.Schema",
    "EXCEPTION_HANDLER": "istore.api.exception_handler.answer",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Inference Store",
    "DESCRIPTION": "The system of record for what models do in production.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.1",
    "SERVE_INCLUDE_SCHEMA": False,
    "PREPROCESSING_HOOKS": ["istore.api.schema.leave_out_second_addresses"],
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_AUTHENTICATION": ["rest_framework.authentication.SessionAuthentication"],
    "ENUM_NAME_OVERRIDES": {
        "InferenceActionEnum": "inferences.models.InferenceAction.labels",
        "TaskTypeEnum": "inferences.models.TaskType.choices",
        "MetadataTypeEnum": "inferences.models.MetadataType.choices",
        "BoxFormatEnum": "inferences.models.BoxFormat.choices",
        "TaskStateEnum": "istore.tasks.tracking.TaskState.choices",
        "ScheduleFormatEnum": "exports.schedules.models.ExportFormat.choices",
    },
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {"persistAuthorization": True, "deepLinking": True},
}

# -- safety in browsers

SECURE_COOKIES = env.flag(
    "ISTORE_SECURE_COOKIES", default=ISTORE_URL.startswith("https")
)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_COOKIES
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_HSTS_SECONDS = env.number("ISTORE_HSTS_SECONDS", 0)
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = env.flag(
    "ISTORE_HSTS_INCLUDE_SUBDOMAINS", default=False
)
SECURE_SSL_REDIRECT = env.flag("ISTORE_SSL_REDIRECT", default=False)
SECURE_REDIRECT_EXEMPT = [
    r"^health/",
    r"^metrics$",
]  # probes use plain HTTP, from this machine
if ISTORE_BEHIND_TLS_PROXY:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
X_FRAME_OPTIONS = "DENY"
CSRF_TRUSTED_ORIGINS = env.listed("ISTORE_TRUSTED_ORIGINS")
CORS_ALLOWED_ORIGINS = env.listed("ISTORE_CORS_ORIGINS")
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "img-src": ["'self'", "data:", "blob:"],
        "object-src": ["'none'"],
        "frame-ancestors": ["'none'"],
        "base-uri": ["'none'"],
        "form-action": ["'self'"],
    }
}
# A blob's upload goes to its own route, which streams; this bounds what Django reads whole.
DATA_UPLOAD_MAX_MEMORY_SIZE = ISTORE_API_MAX_BODY_BYTES
# A selection may name so many inferences, or leave so many out of all that match.
DATA_UPLOAD_MAX_NUMBER_FIELDS = 20_000

# -- logs

LOG_LEVEL = env.choice(
    "ISTORE_LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR")
)
from istore.logs import configuration as _logging  # noqa: E402
from istore.logs import hold_values_back  # noqa: E402

LOGGING = _logging(LOG_LEVEL, json=env.flag("ISTORE_LOG_JSON", default=False))
if not TESTING:
    hold_values_back()

# -- traces and error reports: nothing is sent, and nothing imported, without these

ISTORE_OTEL_ENDPOINT = env.endpoint("ISTORE_OTEL_ENDPOINT") or env.endpoint(
    "OTEL_EXPORTER_OTLP_ENDPOINT"
)
# Of the traces that begin here; one that a caller began is sent as the caller says.
ISTORE_OTEL_PERCENT = env.number("ISTORE_OTEL_PERCENT", 100, most=100)
# Model servers get the trace context of the proxy's own span in the place of the caller's.
ISTORE_OTEL_TO_UPSTREAM = env.flag("ISTORE_OTEL_TO_UPSTREAM", default=False)
ISTORE_SENTRY_DSN = env.endpoint("ISTORE_SENTRY_DSN") or env.endpoint("SENTRY_DSN")
ISTORE_SENTRY_ENVIRONMENT = env.text(
    "ISTORE_SENTRY_ENVIRONMENT", env.text("SENTRY_ENVIRONMENT", "production")
)

ISTORE_FAILPOINTS = env.text("ISTORE_FAILPOINTS")
if ISTORE_FAILPOINTS and not (DEBUG or TESTING):
    raise env.Malformed("ISTORE_FAILPOINTS", "is for ISTORE_DEBUG and tests alone.")
