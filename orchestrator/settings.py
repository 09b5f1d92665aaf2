"""Environment -> one frozen `Settings`. Every variable starts with `PERDURE_`, except the provider's own key."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from orchestrator.runtime.process import MisconfiguredError
from orchestrator.runtime.url_policy import AddressRules
from perdure.contract import MAX_WAIT_SECONDS

_PREFIX = "PERDURE_"


class Settings(BaseSettings):
    """The settings of a server process, read once at its start."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, frozen=True, extra="ignore")

    state_dir: Path = Path(".perdure")
    database_url: str | None = Field(
        default=None,
        description="`sqlite:///path` or `postgresql://user:password@host/db`; default: a file in the state folder.",
    )
    database_listen_url: str | None = Field(
        default=None,
        description="A direct PostgreSQL connection for LISTEN; default: `database_url`.",
    )
    plain_sql: bool = Field(
        default=False,
        description="Execute prepared statements through SQLAlchemy instead of on the driver.",
    )

    task_journal: str | None = Field(
        default=None,
        description="Folder of the in-flight journals, by which other processes of the machine recover tasks after a crash; default: `tasks` in the state folder. Empty: none.",
    )

    temporal_address: str = "127.0.0.1:7233"
    temporal_namespace: str = "default"
    temporal_api_key: SecretStr | None = None
    temporal_tls: bool | None = Field(
        default=None, description="Default: on when an API key or a client certificate is given."
    )
    temporal_tls_ca: Path | None = None
    temporal_tls_cert: Path | None = None
    temporal_tls_key: Path | None = None

    payload_key: SecretStr | None = Field(
        default=None,
        description="32 bytes in base64: Temporal's payloads are encrypted with AES-GCM.",
    )

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8787
    max_wait_seconds: Annotated[float, Field(gt=0, le=MAX_WAIT_SECONDS)] = MAX_WAIT_SECONDS

    trust_forwarded: bool = Field(
        default=False, description="Trust X-Forwarded-For for a machine's address."
    )
    cors_origins: str = Field(
        default="",
        description="Origins whose pages may use the API, separated by commas. Runs may be used from any page.",
    )
    max_requests_per_second: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        default=0, description="Of one cluster, in one API process; 0: no limit."
    )
    max_concurrent_requests: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        default=0, description="Concurrent, of one cluster, in one API process; 0: no limit."
    )

    default_model: str | None = Field(
        default=None,
        description="`provider/model`; default: Claude when an Anthropic key is set, else the scripted analyst.",
    )
    small_model: str | None = Field(
        default=None,
        description="Summaries and names; default: the small model of the run's provider.",
    )
    anthropic_api_key: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("PERDURE_ANTHROPIC_API_KEY", "ANTHROPIC_API_KEY"),
    )
    anthropic_base_url: str | None = Field(
        default=None,
        validation_alias=AliasChoices("PERDURE_ANTHROPIC_BASE_URL", "ANTHROPIC_BASE_URL"),
    )
    max_output_tokens: Annotated[int, Field(ge=256, le=64_000)] = 16_000
    scripted_policies: str = Field(
        default="",
        description="Further scripted policies, `name=module:function` separated by commas.",
    )

    webhook_allowed_networks: str = Field(
        default="",
        description="Networks that webhooks may reach although they are not public, `10.1.0.0/16` and the like separated by commas; in clear too.",
    )
    model_prices: str = Field(
        default="",
        description="Prices beyond the published ones, as JSON: dollars per million tokens by `provider/model`.",
    )

    hosted_functions: str = Field(
        default="",
        description="Services that the Temporal workers host, `module:name` separated by spaces.",
    )
    hosted_cluster: str | None = Field(
        default=None, description="Id of their cluster; default: the cluster `default`."
    )
    max_cached_workflows: Annotated[int, Field(ge=1)] = 500
    max_concurrent_model_calls: Annotated[int, Field(ge=1)] = 200
    sweep_seconds: Annotated[float, Field(gt=0)] = 2.0
    retention_days: Annotated[float, Field(gt=0, le=36_500)] | None = Field(
        default=None,
        description="Days after the end of its last turn after which a run is deleted; default: never.",
    )
    log_format: str = Field(default="text", pattern="^(text|json)$")
    log_level: str = Field(default="info", pattern="^(debug|info|warning|error)$")

    @field_validator("webhook_allowed_networks")
    @classmethod
    def _are_networks(cls, networks: str) -> str:
        _webhook_rules(networks)
        return networks

    @property
    def webhook_rules(self) -> AddressRules:
        """The allowed addresses of webhooks."""
        return _webhook_rules(self.webhook_allowed_networks)

    @property
    def store_url(self) -> str:
        """The store's URL: the given one, or the SQLite file in the state folder."""
        return self.database_url or f"sqlite:///{(self.state_dir / 'perdure.db').resolve()}"

    @property
    def task_folder(self) -> Path | None:
        """The folder of the in-flight journals; None: no journals."""
        if self.task_journal is None:
            return self.state_dir / "tasks"
        return Path(self.task_journal) if self.task_journal else None

    @property
    def model(self) -> str:
        """The model of a run that names none."""
        if self.default_model:
            return self.default_model
        return "anthropic/claude-sonnet-5-5" if self.anthropic_api_key else "scripted/analyst"


def _webhook_rules(networks: str) -> AddressRules:
    return AddressRules.of(network for network in networks.split(",") if network.strip())


def read_settings() -> Settings:
    """Read the settings of this process. Raises `MisconfiguredError`, which names the variable and the problem."""
    try:
        return Settings()
    except ValidationError as error:
        wrong = [
            f"{_variable(str(problem['loc'][0]))}: {problem['msg']}"
            for problem in error.errors(include_url=False, include_input=False)
        ]
        raise MisconfiguredError("; ".join(wrong)) from error


def _variable(field: str) -> str:
    return field if field.isupper() else f"{_PREFIX}{field.upper()}"
