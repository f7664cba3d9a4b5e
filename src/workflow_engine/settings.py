"""Settings from the environment: the runbook's names un-prefixed, all others `WORKFLOW_*`. Read once, at start.

`docs/settings.md` lists every one; a test compares the two.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import json
import re
from importlib.metadata import version
from typing import Annotated, Any, Literal
from urllib.parse import unquote

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from workflow_engine.egress import Egress, parse_allowed
from workflow_engine.errors import SettingsInvalid

VERSION = version("workflow-engine")
"""Of the engine, as installed."""

_HOST = re.compile(r"\.?[a-z0-9_-]+(\.[a-z0-9_-]+)*|[0-9a-f:]+")

NO_LOG_DIRECTORY = "off"
"""The `LOG_DIR` that asks for no log files."""


def _named(name: str, default: Any, description: str, **constraints: Any) -> Any:
    """A setting read from exactly one environment variable."""
    return Field(default, validation_alias=AliasChoices(name), description=description, **constraints)


def _deadlock_detection(value: object) -> object:
    # The runbook sets DEADLOCK_DETECTION=true; shells and manifests also write 1, yes, on, false, 0.
    return {"1": "true", "yes": "true", "on": "true", "0": "off", "no": "off", "false": "off"}.get(
        str(value).lower(), str(value).lower()
    )


def _switch(value: object) -> object:
    switched = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    try:
        return switched[str(value).lower()]
    except KeyError:
        raise ValueError("must be true or false (also 1, yes, on, 0, no, off)") from None


def _webhook_secrets(value: str) -> str:
    signing_keys(value)
    return value


def signing_keys(secrets: str) -> list[bytes]:
    """The keys in a text of secrets, separated by blanks; one that begins with `whsec_` goes on in base64.

    Raises:
        ValueError: It does not.
    """
    keys = []
    for secret in secrets.split():
        if secret.startswith("whsec_"):
            try:
                keys.append(base64.b64decode(secret.removeprefix("whsec_"), validate=True))
            except binascii.Error:
                raise ValueError("after whsec_ a secret must be base64") from None
        else:
            keys.append(secret.encode())
    return keys


def _egress_allow(value: str) -> str:
    parse_allowed(value)
    return value


def _hosts(value: str) -> str:
    for name in filter(None, map(str.strip, value.split(","))):
        if name != "*" and not _HOST.fullmatch(name.lower()):
            raise ValueError(f"{name!r} is no name of a host, such as workflows.example.com: without scheme and port")
    return value


def _networks(value: str) -> str:
    for network in filter(None, map(str.strip, value.split(","))):
        try:
            ipaddress.ip_network(network, strict=False)
        except ValueError:
            raise ValueError(f"{network!r} is no address or network, such as 10.0.0.0/8") from None
    return value


DeadlockDetection = Annotated[Literal["off", "warn", "true"], BeforeValidator(_deadlock_detection)]


Switch = Annotated[bool, BeforeValidator(_switch)]
OtelSwitch = Annotated[
    bool, BeforeValidator(lambda value: str(value).strip().lower() == "true")
]  # as OpenTelemetry reads
Hosts = Annotated[str, AfterValidator(_hosts)]
Networks = Annotated[str, AfterValidator(_networks)]
WebhookSecrets = Annotated[str, AfterValidator(_webhook_secrets)]
EgressAllow = Annotated[str, AfterValidator(_egress_allow)]


class McpServer(BaseModel):
    """Where an MCP server is, and what it wants to see."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str = Field(pattern="^https?://")
    headers: dict[str, str] = Field(default={}, repr=False)


class DatabaseConnection(BaseModel):
    """Where a database of `database` steps is, and how far steps may go there."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str = Field(repr=False)
    read_only: bool = False
    statement_seconds: float | None = Field(default=None, gt=0)
    max_rows: int | None = Field(default=None, ge=1)
    size: int = Field(default=4, ge=1, le=100)


def _by_url(value: object) -> object:
    return {"url": value} if isinstance(value, str) else value


def _json(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise ValueError(f"must be a JSON object ({error})") from None


# Decoded by us: the library's own error names no variable.
DatabaseConnections = Annotated[
    dict[str, Annotated[DatabaseConnection, BeforeValidator(_by_url)]], NoDecode, BeforeValidator(_json)
]
McpServers = Annotated[dict[str, Annotated[McpServer, BeforeValidator(_by_url)]], NoDecode, BeforeValidator(_json)]


class Settings(BaseSettings):
    """All settings of every process."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, env_ignore_empty=True)

    database_url: str = _named(
        "DATABASE_URL", "postgresql://postgres:5432/workflow", "Postgres, the truth.", repr=False
    )
    direct_database_url: str = _named(
        "WORKFLOW_DIRECT_DATABASE_URL",
        "",
        "Postgres itself, where DATABASE_URL leads through a pooler that gives a connection for a transaction only.",
        repr=False,
    )
    redis_url: str = _named("REDIS_URL", "redis://redis:6379/0", "Redis or Valkey, the hint.", repr=False)
    agent_mesh_url: str = _named("AGENT_MESH_URL", "http://agent-mesh:3000", "Agent Mesh resolves agents.")
    agent_brain_url: str = _named("AGENT_BRAIN_URL", "http://agent-brain:3001", "Agent Brain executes agents.")
    host: str = _named("HOST", "0.0.0.0", "Address the API and a worker's /metrics listen on.")  # noqa: S104 a service in a container
    port: int = _named("PORT", 3003, "Port the API listens on.", ge=1, le=65535)
    worker_concurrency: int = _named("WORKER_CONCURRENCY", 50, "Tasks one worker process runs at once.", ge=1, le=1000)
    worker_metrics_port: int = _named(
        "WORKER_METRICS_PORT", 9464, "Port of a worker's /metrics and /livez; 0 = off.", ge=0, le=65535
    )
    worker_shutdown_timeout: float = _named(
        "WORKER_SHUTDOWN_TIMEOUT", 300.0, "Seconds a stopping worker lets its tasks finish.", ge=0
    )
    deadlock_detection: DeadlockDetection = _named("DEADLOCK_DETECTION", "warn", "off, warn or true.")
    log_level: Literal["debug", "info", "warning", "error"] = _named("LOG_LEVEL", "info", "Least level that is logged.")
    log_format: Literal["logfmt", "json"] = _named("LOG_FORMAT", "logfmt", "Form of a log line.")
    log_dir: str = _named(
        "LOG_DIR", "/var/log/workflow-engine", "Where app.log, worker.log and tasks.log are; off = stdout only."
    )
    log_max_bytes: int = _named(
        "WORKFLOW_LOG_MAX_BYTES", 50 * 1024 * 1024, "Size at which a log file is copied and emptied.", ge=4096
    )
    log_backups: int = _named("WORKFLOW_LOG_BACKUPS", 3, "Copies that are kept of each log file.", ge=0, le=100)

    memory_profiler: Switch = _named("MEMORY_PROFILER", False, "A worker tells where its memory was allocated.")
    memory_profile_seconds: float = _named(
        "WORKFLOW_MEMORY_PROFILE_SECONDS", 60.0, "Time between two lines of the memory profiler.", gt=0
    )
    memory_profile_share: float = _named(
        "WORKFLOW_MEMORY_PROFILE_SHARE",
        0.01,
        "Share of the time in which it traces; 1 = always.",
        gt=0,
        le=1,
    )
    memory_limit_bytes: int = _named(
        "WORKFLOW_MEMORY_LIMIT_BYTES", 0, "Memory a worker may use; 0 = as its cgroup says.", ge=0
    )

    env: Literal["development", "production"] = _named("WORKFLOW_ENV", "development", "Kind of deployment.")
    auth: Literal["", "none", "token"] = _named(
        "WORKFLOW_AUTH", "", "token: callers need keys; none: they do not. Production needs one of both to be said."
    )
    token: str = _named(
        "WORKFLOW_TOKEN", "", "Key that commands such as drain show to the engine; also --token.", repr=False
    )
    lease_seconds: float = _named("WORKFLOW_LEASE_SECONDS", 30.0, "Length of a lease.", gt=0)
    heartbeat_seconds: float = _named(
        "WORKFLOW_HEARTBEAT_SECONDS", 10.0, "Time between heartbeats; less than half a lease.", gt=0
    )
    sweep_seconds: float = _named("WORKFLOW_SWEEP_SECONDS", 5.0, "Time between maintenance sweeps.", gt=0)
    poll_seconds: float = _named(
        "WORKFLOW_POLL_SECONDS", 1.0, "Longest time an idle worker waits before it looks for work.", gt=0
    )
    task_timeout: float = _named("WORKFLOW_TASK_TIMEOUT", 60.0, "Seconds an attempt may take by default.", gt=0)
    max_crashes: int = _named(
        "WORKFLOW_MAX_CRASHES",
        3,
        "Lost claims after which a task fails as worker_lost; before the last one it runs in a process of its own.",
        ge=1,
    )
    max_payload_bytes: int = _named(
        "WORKFLOW_MAX_PAYLOAD_BYTES", 1024 * 1024, "Largest body, input and output.", ge=1024
    )
    max_pending: int = _named(
        "WORKFLOW_MAX_PENDING",
        1_000_000,
        "Pending tasks from which on no more is started over HTTP; 0 = no limit.",
        ge=0,
    )
    allowed_hosts: Hosts = _named(
        "WORKFLOW_ALLOWED_HOSTS",
        "",
        "Names under which people reach an engine, separated by commas; .example.com = all below it, * = any.",
    )
    trusted_proxies: Networks = _named(
        "WORKFLOW_TRUSTED_PROXIES",
        "",
        "Addresses and networks, separated by commas, of proxies whose X-Forwarded-For is believed.",
    )
    rate_limit: float = _named(
        "WORKFLOW_RATE_LIMIT", 0.0, "Requests per second of one key or address, per engine; 0 = no limit.", ge=0
    )
    max_requests: int = _named(
        "WORKFLOW_MAX_REQUESTS", 1_000, "Requests that one engine serves at once, waiting ones included.", ge=1
    )
    max_header_bytes: int = _named("WORKFLOW_MAX_HEADER_BYTES", 16_384, "Largest headers of a request.", ge=1024)
    request_timeout: float = _named(
        "WORKFLOW_REQUEST_TIMEOUT", 30.0, "Seconds in which a request must arrive, and its answer be taken.", gt=0
    )
    retention_succeeded_seconds: float = _named(
        "WORKFLOW_RETENTION_SUCCEEDED_SECONDS",
        0.0,
        "How long workflows that succeeded are kept, where their definition does not say; 0 = for ever.",
        ge=0,
    )
    retention_failed_seconds: float = _named(
        "WORKFLOW_RETENTION_FAILED_SECONDS",
        0.0,
        "The same for those that failed or were cancelled.",
        ge=0,
    )
    retention_audit_seconds: int = _named(
        "WORKFLOW_RETENTION_AUDIT_SECONDS",
        90 * 24 * 60 * 60,
        "How long rows of the audit log are kept; 0 = for ever. The default is 90 days.",
        ge=0,
    )
    metrics_definitions: int = _named(
        "WORKFLOW_METRICS_DEFINITIONS",
        100,
        "Definitions that have a label of their own in the metrics; the others are counted as `other`.",
        ge=0,
        le=10_000,
    )
    listen_notify: bool = _named(
        "WORKFLOW_LISTEN_NOTIFY", True, "Use LISTEN for wake-ups; false = find work by looking for it."
    )
    queues: str = _named("WORKFLOW_QUEUES", "default", "Queues a worker serves, separated by commas.")
    worker_name: str = _named("WORKFLOW_WORKER_NAME", "", "Name of a worker; default: host and pid.")
    include: str = _named("WORKFLOW_INCLUDE", "", "Modules with handlers a worker loads, separated by commas.")
    definitions_dir: str = _named(
        "WORKFLOW_DEFINITIONS_DIR", "", "Directory whose .json, .yaml and .yml files are definitions."
    )
    connections: DatabaseConnections = _named(
        "WORKFLOW_CONNECTIONS",
        {},
        'Databases of database steps, as JSON: a URL each, or {"url": "...", "read_only": true}.',
    )
    mcp_servers: McpServers = _named(
        "WORKFLOW_MCP_SERVERS",
        {},
        'MCP servers of tool steps, as JSON: a URL each, or {"url": "...", "headers": {"Authorization": "..."}}.',
    )
    egress: Literal["open", "guarded"] | None = _named(
        "WORKFLOW_EGRESS", None, "open or guarded; default: open in development, guarded in production."
    )
    egress_allow: EgressAllow = _named(
        "WORKFLOW_EGRESS_ALLOW", "", "Hosts, domains, networks and ports that are open though egress is guarded."
    )
    secrets_dir: str = _named(
        "WORKFLOW_SECRETS_DIR", "", "Directory whose files are secrets, each named like its secret."
    )
    llm_base_url: str = _named("WORKFLOW_LLM_BASE_URL", "", "OpenAI-compatible endpoint, ending in /v1.")
    llm_api_key: str = _named("WORKFLOW_LLM_API_KEY", "", "Key for that endpoint.", repr=False)
    llm_model: str = _named("WORKFLOW_LLM_MODEL", "", "Model of llm_inference steps that name none.")
    mock_http_url: str = _named(
        "WORKFLOW_MOCK_HTTP_URL", "", "A server that answers every http step in place of its target; for trials only."
    )

    webhook_secret: WebhookSecrets = _named(
        "WORKFLOW_WEBHOOK_SECRET",
        "",
        "Secret that signs webhooks; several, separated by blanks, sign each.",
        repr=False,
    )
    webhook_tries: int = _named(
        "WORKFLOW_WEBHOOK_TRIES", 20, "Tries after which a webhook is a dead letter.", ge=1, le=1000
    )

    otel_disabled: OtelSwitch = _named("OTEL_SDK_DISABLED", False, "true: no traces, whatever else says.")
    otel_exporter: str = _named(
        "OTEL_TRACES_EXPORTER", "", "Where spans go: otlp, console or none; default: otlp where an endpoint is set."
    )
    otlp_endpoint: str = _named("OTEL_EXPORTER_OTLP_ENDPOINT", "", "Where a collector listens, without /v1/traces.")
    otlp_traces_endpoint: str = _named(
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "", "The same for traces alone, with /v1/traces."
    )
    otlp_protocol: str = _named(
        "OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf", "http/protobuf, or grpc with its package."
    )
    otlp_traces_protocol: str = _named("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "", "The same for traces alone.")
    otlp_headers: str = _named(
        "OTEL_EXPORTER_OTLP_HEADERS", "", "Headers for the collector: name=value, separated by commas.", repr=False
    )
    otlp_traces_headers: str = _named("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "", "The same for traces alone.", repr=False)

    server: str = _named(
        "WORKFLOW_SERVER", "http://localhost:3003", "Engine that commands such as drain speak to; also --server."
    )

    _given: frozenset[str] = PrivateAttr(default=frozenset())

    @property
    def given(self) -> frozenset[str]:
        """The variables that something else than the environment has set, such as a flag of the command."""
        return self._given

    @property
    def session_database_url(self) -> str:
        """Where a connection is a session of Postgres for as long as it lasts."""
        return self.direct_database_url or self.database_url

    @property
    def needs_keys(self) -> bool:
        """Whether callers of the API must show a key."""
        return self.auth == "token"

    def check_auth_choice(self) -> None:
        """Called before anything is served.

        Raises:
            SettingsInvalid: In production nobody said whether callers need keys.
        """
        if self.env == "production" and not self.auth:
            raise SettingsInvalid(
                "WORKFLOW_AUTH is not set, and with WORKFLOW_ENV=production it must be: token or none",
                hint="token: callers need keys, which `workflow-engine token create` makes. none: whoever reaches the"
                " port may do everything, so only where something in front of it decides who does.",
            )

    @property
    def grace_seconds(self) -> float:
        """Time after a start of Postgres in which no lease is judged: nobody could renew before."""
        return 2 * self.heartbeat_seconds

    @property
    def egress_policy(self) -> Egress:
        """What may be called that an author, a model or a target names."""
        guarded = self.egress == "guarded" or (self.egress is None and self.env != "development")
        return Egress(guarded, parse_allowed(self.egress_allow))

    @property
    def traces_exporter(self) -> str:
        """`otlp`, `console`, `none`, or what was written in their place."""
        if self.otel_disabled:
            return "none"
        return self.otel_exporter.strip().lower() or (
            "otlp" if self.otlp_endpoint or self.otlp_traces_endpoint else "none"
        )

    @property
    def credentials(self) -> list[str]:
        """What proves to others who we are, beside what stands in URLs; for whoever must not show it."""
        headers = [value for server in self.mcp_servers.values() for value in server.headers.values()]
        pairs = f"{self.otlp_headers},{self.otlp_traces_headers}".split(",")
        headers += [unquote(pair.partition("=")[2].strip()) for pair in pairs]
        keys = [key for secret in self.webhook_secret.split() for key in (secret, secret.removeprefix("whsec_"))]
        return [self.llm_api_key, *keys, *headers, *(header.partition(" ")[2] for header in headers)]

    @property
    def most_lost_claims(self) -> int:
        """Lost claims after which a task fails whatever its part in them.

        From `max_crashes` less one on it runs in a process of its own. If that process dies it has failed; if its
        worker does, that says nothing of it, as long as it does not happen again and again.
        """
        return 2 * self.max_crashes

    @property
    def queue_names(self) -> list[str]:
        """The queues a worker serves, in order, each once."""
        return list(dict.fromkeys(name.strip() for name in self.queues.split(",") if name.strip()))

    @property
    def include_modules(self) -> list[str]:
        return [name.strip() for name in self.include.split(",") if name.strip()]


_NOT_SHOWN = frozenset(
    {"DATABASE_URL", "WORKFLOW_DIRECT_DATABASE_URL", "REDIS_URL", "WORKFLOW_CONNECTIONS", "WORKFLOW_MCP_SERVERS"}
    | {"WORKFLOW_LLM_API_KEY", "WORKFLOW_WEBHOOK_SECRET"}
    | {"OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"}
)
"""Settings whose values hold credentials: not repeated when they are wrong."""


def load_settings(**overrides: Any) -> Settings:
    """Read the environment once.

    Args:
        overrides: Values by environment name (`PORT=3004`) that beat the environment, such as command-line flags.

    Raises:
        SettingsInvalid: Names the variable, the value and what is accepted.
    """
    try:
        settings = Settings(**overrides)
        settings._given = frozenset(overrides)
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            name = str(problem["loc"][0]) if problem["loc"] else "settings"
            message = problem["msg"].removeprefix("Value error, ")
            if name in _NOT_SHOWN:
                place = "".join(f"/{part}" for part in problem["loc"][1:])
                lines.append(f"{name}: {place and f'at {place}: '}{message}")
            else:
                lines.append(f"{name}={problem.get('input')!r}: {message}")
        raise SettingsInvalid("; ".join(lines)) from error
    if settings.egress == "open" and settings.env != "development":
        raise SettingsInvalid(
            f"WORKFLOW_EGRESS=open: only for WORKFLOW_ENV=development, not {settings.env}; name what workflows may "
            "reach beside the public internet in WORKFLOW_EGRESS_ALLOW"
        )
    if settings.heartbeat_seconds * 2 > settings.lease_seconds:
        raise SettingsInvalid(
            f"WORKFLOW_HEARTBEAT_SECONDS={settings.heartbeat_seconds:g}: must be at most half of "
            f"WORKFLOW_LEASE_SECONDS={settings.lease_seconds:g}"
        )
    return settings
