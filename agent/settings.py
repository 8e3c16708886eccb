"""
The settings of a process: what the environment and `.env` say, read here and nowhere else.

A setting says how a worker runs (addresses, limits, folders). What a *session* is comes from bundles,
presets and overrides, never from here.
"""

import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from agent.cores import usable_cores
from config_store.redis_url import parse_redis_url

_DATABASES = ("sqlite", "postgresql", "postgres", "postgresql+psycopg")
SESSIONS_PER_CORE = 6
"""A call needs 0.11 of a core (`python -m benchmarks --only load`)."""
ENVIRONMENT_FILE = ".env"
"""Read from the working folder when present; the environment wins over it."""


class SettingsError(Exception):
    """A setting has a value that cannot be used; the text names the variable and what it takes."""


def _named(name: str) -> AliasChoices:
    """The variable's exact name, without our prefix: these are names that other tools set too."""
    return AliasChoices(name)


class Settings(BaseSettings):
    """One process's settings. Secrets never show in `repr`."""

    model_config = SettingsConfigDict(
        env_prefix="AGENT_",
        env_file=ENVIRONMENT_FILE,
        extra="ignore",
        frozen=True,
        use_attribute_docstrings=True,
        populate_by_name=True,
    )

    livekit_url: str | None = Field(None, validation_alias=_named("LIVEKIT_URL"))
    """Address of the LiveKit server: ws://, wss://, http:// or https://."""
    livekit_api_key: str | None = Field(None, validation_alias=_named("LIVEKIT_API_KEY"))
    """API key of the LiveKit project."""
    livekit_api_secret: SecretStr | None = Field(None, validation_alias=_named("LIVEKIT_API_SECRET"))
    """API secret of the LiveKit project."""
    redis_url: SecretStr | None = Field(None, validation_alias=_named("REDIS_URL"))
    """Redis or Valkey, in one of the forms below. Unset: an embedded Valkey under AGENT_DATA."""
    database_url: SecretStr | None = Field(None, validation_alias=_named("DATABASE_URL"))
    """sqlite:////absolute/path, sqlite:///relative or postgresql://. Unset: SQLite under AGENT_DATA."""
    openai_api_key: SecretStr | None = Field(None, validation_alias=_named("OPENAI_API_KEY"))
    """Key of the provider openai."""
    eleven_api_key: SecretStr | None = Field(None, validation_alias=_named("ELEVEN_API_KEY"))
    """Key of the provider elevenlabs."""
    otlp_endpoint: str | None = Field(None, validation_alias=_named("OTEL_EXPORTER_OTLP_ENDPOINT"))
    """Address of an OpenTelemetry collector (OTLP over HTTP) for one trace per session; unset: no traces."""

    name: str = "agent"
    """The agent name that dispatches ask for; empty: automatic dispatch, every new room gets the agent."""
    bundles: Path = Path("bundles")
    """Folder of the YAML bundles."""
    default_bundle: str | None = None
    """Bundle of a call that names none and that no route matches; unset: the only startable one there is."""
    data: Path = Path("var")
    """Folder for compiled bundles, journals and the embedded services' data."""
    http_port: int = Field(8081, ge=0, le=65535)
    """Port of /livez, /readyz and /metrics; 0: any free port."""
    modules: Annotated[tuple[str, ...], NoDecode] = ()
    """Python modules, comma separated, that bundles may take tools and agent classes from."""
    max_sessions: int | None = Field(None, ge=1)
    """Most sessions at once on this worker; unset: 6 per core that it may use (two thirds of it)."""
    drain_seconds: float = Field(60.0, ge=0)
    """Longest time in seconds that sessions may go on after SIGTERM before they get their goodbye."""
    job_memory_mb: int = Field(1024, ge=0)
    """Memory in MB above which a session's process is ended and its session taken up anew; 0: no limit."""
    livekit_retries: int = Field(16, ge=0)
    """Attempts to reach LiveKit once its connection is lost, 0 to 10 s apart, before the worker gives up."""
    store_budget_seconds: float = Field(1.0, gt=0, le=30)
    """Time in seconds for everything asked of Redis and SQL at the start of a session."""
    sweep_seconds: float = Field(10.0, gt=0)
    """Time in seconds between two searches for sessions whose record is missing."""
    turn_detector: Literal["vad", "v1-mini"] = "vad"
    """How a user's turn ends: `vad` by silence alone; `v1-mini` by LiveKit's model too (240 MB more)."""
    log_format: Literal["text", "json"] | None = None
    """Log lines as text or JSON; unset: text on a terminal, JSON elsewhere."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Least level of a log line that is written."""
    prewarm: Annotated[tuple[str, ...], NoDecode] = ()
    """Providers to load before jobs fork; set by the worker from its bundles, not by people."""
    key_variables: Annotated[tuple[str, ...], NoDecode] = ()
    """Variables that bundles name as those with a key in them; set by the worker, not by people."""
    worker_id: str | None = None
    """This worker's own id; set by the worker for its job processes, not by people."""

    @field_validator("modules", "prewarm", "key_variables", mode="before")
    @classmethod
    def _comma_separated(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator(
        "livekit_url", "livekit_api_key", "livekit_api_secret", "redis_url", "database_url",
        "openai_api_key", "eleven_api_key", "otlp_endpoint", "default_bundle", "max_sessions", "log_format",
        "worker_id",
        mode="before",
    )  # fmt: skip
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("bundles", "data", mode="before")
    @classmethod
    def _empty_is_default(cls, value: object, info: ValidationInfo) -> object:
        return cls.model_fields[info.field_name or ""].default if value == "" else value

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            try:
                parts = urlsplit(value.get_secret_value())
                is_known = parts.scheme in _DATABASES and (parts.port or True)
                if parts.scheme == "sqlite" and parts.path in ("", "/", "/:memory:"):
                    is_known = False  # in memory: what is written is gone with the connection
            except ValueError:
                is_known = False
            if not is_known:
                raise ValueError(
                    "not a database URL; sqlite:////absolute/path, sqlite:///relative or postgresql://…"
                )
        return value

    @field_validator("redis_url")
    @classmethod
    def _known_form(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            parse_redis_url(value.get_secret_value())
        return value

    @property
    def journals(self) -> Path:
        """Folder of the journals of live and unfinished sessions."""
        return self.data / "journals"

    @property
    def compiled(self) -> Path:
        """Folder of the compiled bundles that jobs read."""
        return self.data / "compiled"

    @property
    def session_cap(self) -> int:
        """Most sessions at once: AGENT_MAX_SESSIONS, else 6 per core that this process may use."""
        return self.max_sessions or SESSIONS_PER_CORE * usable_cores()

    def database(self) -> str:
        """The SQLAlchemy URL; without DATABASE_URL the embedded SQLite file under AGENT_DATA."""
        if self.database_url is None:
            return f"sqlite:///{(self.data / 'agent.db').absolute()}"
        url = self.database_url.get_secret_value()
        for scheme in ("postgresql://", "postgres://"):
            if url.startswith(scheme):
                return "postgresql+psycopg://" + url.removeprefix(scheme)
        return url

    @property
    def database_is_embedded(self) -> bool:
        """Whether the database is the SQLite file under AGENT_DATA."""
        return self.database_url is None

    def require_redis(self) -> str:
        """
        Address of Redis; a worker sets it for its jobs, also that of the embedded Valkey.

        Raises:
            SettingsError: It is not set.
        """
        if self.redis_url is None:
            raise SettingsError("REDIS_URL is not set")
        return self.redis_url.get_secret_value()

    def require_livekit(self) -> tuple[str, str, str]:
        """
        URL, key and secret of the LiveKit server.

        Raises:
            SettingsError: One of them is not set; names the variables.
        """
        missing = [
            name
            for name, value in (
                ("LIVEKIT_URL", self.livekit_url),
                ("LIVEKIT_API_KEY", self.livekit_api_key),
                ("LIVEKIT_API_SECRET", self.livekit_api_secret),
            )
            if not value
        ]
        if missing:
            raise SettingsError(
                f"{', '.join(missing)} not set; `agent dev` runs without, on a server of its own"
            )
        assert self.livekit_url is not None
        assert self.livekit_api_key is not None
        assert self.livekit_api_secret is not None
        return self.livekit_url, self.livekit_api_key, self.livekit_api_secret.get_secret_value()


def load(**overrides: Any) -> Settings:
    """
    The settings of this process.

    Args:
        overrides: Values by attribute name that win over the environment (embedded services use this).

    Raises:
        SettingsError: A variable has a value that cannot be used; one line, names the variable.
    """
    try:
        return Settings(**overrides)
    except UnicodeDecodeError:
        raise _not_utf8() from None
    except ValidationError as exc:
        raise SettingsError("; ".join(_problems(exc).values())) from None


def load_usable() -> tuple[Settings, str | None]:
    """
    The settings of this process, those that cannot be used as if they were unset, and what is wrong with
    them (one line that names the variables; None: nothing), for who looks at everything else all the same.

    Raises:
        SettingsError: `.env` cannot be read.
    """
    try:
        return Settings(), None
    except UnicodeDecodeError:
        raise _not_utf8() from None
    except ValidationError as exc:
        problems = _problems(exc)
    unset = {
        name: info.get_default(call_default_factory=True)
        for name, info in Settings.model_fields.items()
        if not problems.keys().isdisjoint(_variables(name))
    }
    return Settings(**unset), "; ".join(problems.values())


def _problems(exc: ValidationError) -> dict[str, str]:
    """What is wrong, by variable."""
    found = {}
    for error in exc.errors(include_url=False, include_input=False):
        field = str(error["loc"][0]) if error["loc"] else "settings"
        variable = field if field.isupper() else f"AGENT_{field.upper()}"
        message = error["msg"].removeprefix("Value error, ")  # of our own validators
        found[variable] = f"{variable}: {message[:1].lower()}{message[1:]}"
    return found


def _variables(field: str) -> set[str]:
    alias = Settings.model_fields[field].validation_alias
    return set(map(str, alias.choices)) if isinstance(alias, AliasChoices) else {f"AGENT_{field.upper()}"}


def pass_on(**values: str) -> None:
    """Set environment variables for the processes that this one starts, unless somebody set them already."""
    for name, value in values.items():
        os.environ.setdefault(name, value)


def passed_on() -> dict[str, str]:
    """What a process that is started now gets for its environment."""
    return dict(os.environ)


def take_over(variables: Mapping[str, str]) -> None:
    """Make these the environment of this process, and nothing else."""
    os.environ.clear()
    os.environ.update(variables)


def environment() -> Mapping[str, str]:
    """
    The process's environment with what `.env` adds, for `${NAME}` in bundles and for providers' keys.

    A bundle may name any variable (`api_key_env: ACME_OPENAI_KEY`), so this is the whole environment.
    """
    try:
        found = Path(ENVIRONMENT_FILE).stat()
    except OSError:
        return dict(os.environ)
    return {**_of_file(ENVIRONMENT_FILE, found.st_mtime_ns, found.st_size, found.st_ino), **os.environ}


@functools.lru_cache(maxsize=1)
def _of_file(path: str, *_signature: int) -> Mapping[str, str]:
    """What a file adds, read again when it is another one: each job asks, and need not parse it."""
    from dotenv import dotenv_values

    try:
        found = dotenv_values(path)
    except UnicodeDecodeError:
        raise _not_utf8() from None
    return {name: value for name, value in found.items() if value is not None}


def _not_utf8() -> SettingsError:
    return SettingsError(f"{ENVIRONMENT_FILE} is not UTF-8; save it so, or remove it")
