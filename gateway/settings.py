"""All settings, read once at start: a TOML file, then `GANTRY_*` environment variables, then flags; later ones win.

`docs/settings.md` lists them; a test holds the two together.
"""

from __future__ import annotations

import ipaddress
from base64 import b64decode
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from gateway.policy import Oidc, Role
from gateway.rights import Action
from storage.encryption import KEY_BYTES, Encryption
from storage.query.times import OFFSETS

GIB = 1 << 30


class BadSettings(Exception):
    """A setting is wrong; the message names its key."""


class Peer(BaseModel):
    """A known DICOM node: who may call, and where C-MOVE may send to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    aet: str = Field(min_length=1, max_length=16, description="AE title of the node.")
    host: str = Field(min_length=1, description="Host name or address it listens on and calls from.")
    port: int = Field(ge=1, le=65535, description="TCP port it listens on.")
    tls: bool = Field(False, description="It listens with TLS.")
    certificate: str | None = Field(
        None,
        min_length=1,
        description="Its TLS certificate: SHA-256 fingerprint, or a name in it. Nobody else may call under its title.",
    )
    may: frozenset[Action] | None = Field(
        None, description="What it may do: search, read, store, delete; all of it, unless said here or by a role."
    )
    notify: bool = Field(False, description="Tell it when a study is available (Instance Availability Notification).")


class Forward(BaseModel):
    """A forwarding rule: what is stored from now on, and fulfils all conditions, is sent on."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    to: str = Field(description="AE title of a peer, or base URL of a DICOMweb service (https://host/dicomweb).")
    modality: tuple[str, ...] = Field((), description="Only these modalities.")
    sop_class: tuple[str, ...] = Field((), description="Only these SOP Class UIDs.")
    calling_aet: tuple[str, ...] = Field((), description="Only what these AE titles have sent by C-STORE.")
    token: str | None = Field(None, repr=False, description="Bearer token for a DICOMweb service.")


class Coerce(BaseModel):
    """A rule of coercion: attributes that are set in what is stored, where all conditions are fulfilled."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    calling_aet: tuple[str, ...] = Field((), description="Only what these AE titles send by C-STORE.")
    modality: tuple[str, ...] = Field((), description="Only these modalities.")
    missing: dict[str, str] = Field({}, description="Values by keyword, set where the attribute is absent or empty.")
    replace: dict[str, str] = Field({}, description="Values by keyword, set whatever the attribute has.")


class Webhook(BaseModel):
    """A web server that is told of changes."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    url: str = Field(pattern=r"^https?://[^/?#\s]", description="URL that changes are posted to.")
    secret: str | None = Field(
        None, min_length=16, repr=False, description="Key of the HMAC-SHA256 signature in Gantry-Signature."
    )
    actions: tuple[Literal["create", "replace", "repair", "delete"], ...] = Field(
        (), description="Only changes of these kinds."
    )


class Settings(BaseSettings):
    """The settings. Frozen: nothing changes them after start."""

    model_config = SettingsConfigDict(
        env_prefix="GANTRY_", env_nested_delimiter="__", frozen=True, extra="forbid", hide_input_in_errors=True
    )

    data: Path = Field(Path("data"), description="Folder of everything that is kept locally: index, objects, spool.")
    http: str = Field("127.0.0.1:8080", description="HOST:PORT of the HTTP listener; port 0 takes any free port.")
    dimse: str = Field("127.0.0.1:11112", description="HOST:PORT of the DIMSE listener; port 0 takes any free port.")
    dimse_tls: str = Field("", description="HOST:PORT of the DIMSE listener with TLS (2762 is usual); empty: none.")
    dimse_tls_cert: Path | None = Field(None, description="PEM file of our certificate and its chain, for TLS.")
    dimse_tls_key: Path | None = Field(None, description="PEM file of its key, when that is not in the same file.")
    dimse_tls_ca: Path | None = Field(
        None, description="PEM file of the authorities whose certificates peers may show."
    )
    dimse_tls_clients: Literal["required", "optional"] = Field(
        "required", description="Must peers that call with TLS show a certificate? Only with dimse_tls_ca."
    )
    http_tls_cert: Path | None = Field(None, description="PEM file of our certificate and its chain: HTTP is with TLS.")
    http_tls_key: Path | None = Field(None, description="PEM file of its key, when that is not in the same file.")
    http_tls_ca: Path | None = Field(
        None, description="PEM file of the authorities whose certificates clients may show over HTTP."
    )
    http_tls_clients: Literal["required", "optional"] = Field(
        "optional", description="Must clients show a certificate over HTTP? Only with http_tls_ca."
    )
    hsts_days: float = Field(
        180.0, ge=0, description="Days for which browsers that came by https keep to it (HSTS); 0: they are not told."
    )
    aet: str = Field("GANTRY", min_length=1, max_length=16, description="AE title of this gateway.")
    objects: str = Field("", description="Object store: file:///folder or s3://bucket/prefix; empty: DATA/objects.")
    index: str = Field("", description="Index: sqlite:////file or postgresql://user@host/name; empty: DATA/index.db.")
    workers: int | None = Field(
        None,
        ge=1,
        le=64,
        description="Processes that serve, on the same sockets; empty: one for each core, four at most.",
    )
    s3_endpoint: str | None = Field(None, description="URL of the S3 server; empty: Amazon's.")
    s3_region: str | None = Field(None, description="Region of the bucket; empty: the usual AWS chain.")
    s3_encryption: str = Field(
        "",
        pattern=r"^(AES256|aws:kms(:\S+)?)?$",
        description="What the S3 server is to encrypt with: AES256, aws:kms or aws:kms:KEY; empty: as the bucket says.",
    )
    s3_customer_key: Path | None = Field(
        None,
        description="File with 32 bytes in base64: the S3 server encrypts with them, and forgets them (SSE-C).",
    )
    patience: float = Field(
        10.0,
        ge=1,
        le=60,
        description="Seconds of silence after which S3 or PostgreSQL is not waited for; a disk: twice that.",
    )
    public_url: str | None = Field(None, description="URL under which clients reach the gateway, for links in answers.")
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Addresses or networks of proxies whose Forwarded headers are believed, separated by commas."
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Origins whose pages may use the API, separated by commas."
    )
    token: str | None = Field(
        None, min_length=16, repr=False, description="Bearer token that every request for data must carry."
    )
    oidc: Oidc | None = Field(None, description="The OpenID provider whose tokens are taken ([oidc] in the TOML file).")
    api_keys: bool = Field(False, description="Take API keys that `gantry token create` makes; without one: 401.")
    basic_auth: bool = Field(False, description="Take names and passwords of `gantry user create`, by HTTP Basic.")
    failed_sign_ins: int = Field(
        10,
        ge=0,
        le=1000,
        description="Wrong passwords for one name from one address in 5 minutes, then 429; 0: any number.",
    )
    request_rate: float = Field(
        0.0, ge=0, description="Requests a second for each caller over HTTP, then 429; 0: any number."
    )
    link_days: float = Field(7.0, gt=0, le=366, description="Days for which a link to a study lasts at most.")
    audit: Literal["off", "on", "required"] = Field(
        "on", description="Keep an audit log in DATA/audit; required: serve nothing while it cannot be written."
    )
    audit_days: float = Field(0.0, ge=0, description="Days for which the audit log is kept; 0: for ever.")
    audit_syslog: str = Field(
        "",
        pattern=r"^$|^(tls|tcp)://[^/]+$",
        description="Where audit messages (DICOM PS3.15) are sent: tls://HOST:PORT or tcp://HOST:PORT; empty: nowhere.",
    )
    audit_syslog_ca: Path | None = Field(None, description="PEM file of the authorities of that receiver.")
    audit_syslog_cert: Path | None = Field(None, description="PEM file of our certificate and key for that receiver.")
    audit_fhir: str = Field("", description="URL to which FHIR AuditEvents are posted; empty: nowhere.")
    audit_fhir_token: str | None = Field(None, repr=False, description="Bearer token that goes with audit_fhir.")
    roles: tuple[Role, ...] = Field((), description="Who may do what with which studies ([[roles]] in the TOML file).")
    insecure: bool = Field(False, description="Allow listening beyond loopback without authentication.")
    calling_aets: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="AE titles that may open associations, besides the peers; empty on loopback: any."
    )
    require_called_aet: bool = Field(True, description="Refuse associations that call another AE title than AET.")
    require_peer_host: bool = Field(
        False, description="Refuse associations under a peer's AE title from another address than its host's."
    )
    user_identity: Literal["refuse", "ignore"] = Field(
        "refuse",
        description="User Identity that is not the token (as passcode or JWT): refuse the association, or ignore it.",
    )
    peers: tuple[Peer, ...] = Field((), description="Known DICOM nodes ([[peers]] in the TOML file).")
    forward: tuple[Forward, ...] = Field((), description="Forwarding rules ([[forward]] in the TOML file).")
    coerce: tuple[Coerce, ...] = Field((), description="Coercion at ingest ([[coerce]] in the TOML file).")
    webhooks: tuple[Webhook, ...] = Field(
        (), description="Web servers that are told of changes ([[webhooks]] in the TOML file)."
    )
    study_quiet: float = Field(
        60.0, ge=0, description="Seconds without a new instance after which a study counts as complete."
    )
    max_associations: int = Field(100, ge=1, le=10_000, description="DICOM associations open at the same time.")
    accept_unknown_classes: bool = Field(True, description="Store private and unknown SOP classes too.")
    max_object_bytes: int = Field(16 * GIB, ge=1024, description="Largest instance that is accepted, in bytes.")
    max_request_bytes: int = Field(64 * GIB, ge=1024, description="Largest STOW-RS request, in bytes.")
    max_spooled_bytes: int = Field(
        4 * GIB,
        ge=0,
        description="Bytes that may be being received or wait to be stored, of all senders together; 0: no bound.",
    )
    max_store_requests: int = Field(
        24, ge=1, le=10_000, description="STOW-RS requests that are taken in at the same time."
    )
    body_timeout: float = Field(
        30.0, gt=0, description="Seconds that a request body may stand still before it is given up."
    )
    duplicates: Literal["refuse", "replace"] = Field(
        "refuse", description="What to do with other bytes under a known SOP Instance UID."
    )
    delete_delay: float = Field(259_200.0, ge=0, description="Seconds that the bytes of deleted instances are kept.")
    delete_rate: int = Field(
        1000,
        ge=0,
        le=1_000_000,
        description="DELETE requests an hour of each caller who is known, then 429; 0: any number.",
    )
    scrub_days: float = Field(
        30.0, ge=0, description="Days in which every stored object is read again and its digest compared; 0: never."
    )
    scrub_rate: int = Field(
        20 << 20, ge=1 << 10, description="Bytes a second that the scrubber reads at most, on each gateway."
    )
    spool_reserve: int = Field(
        32 << 20, ge=0, description="Bytes of the spool's disk that are left free, so that the index can go on."
    )
    derived_max_bytes: int = Field(
        4 * GIB, ge=0, description="Bytes of disk for what is made from objects: transcodings, pictures; 0 keeps none."
    )
    decoders: int = Field(
        0, ge=0, le=256, description="Processes that decode compressed pixels; 0: one for each processor, at least 2."
    )
    decoder_memory: int = Field(GIB, ge=1 << 20, description="Bytes of memory that decoding one frame may take.")
    decoder_seconds: int = Field(
        20, ge=1, description="Seconds of computing time that decoding one frame may take; three times that in all."
    )
    picture_mark: str = Field(
        "",
        max_length=80,
        description="Text burnt into every rendered picture, such as NOT FOR DIAGNOSIS; not into thumbnails.",
    )
    picture_mark_lossy: bool = Field(
        False,
        description="Burn into rendered pictures that they, or the pixels they are made of, were compressed with loss.",
    )
    empty_search: Literal[204, 200] = Field(204, description="Status of a search without results; 200 answers [].")
    search_scan_limit: int = Field(
        2000, ge=1, le=100_000, description="Data sets that one search may read for what the index does not hold."
    )
    timezone: str = Field(
        "", description="Offset from UTC (+0100) of stored times that do not say theirs; empty: that of each search."
    )
    match_unknown: bool = Field(
        False, description="Let a required matching key match what has no value for it, as PS3.4 C.2.2.1.2 says."
    )
    retrieve_default: Literal["explicit", "stored"] = Field(
        "explicit",
        description="Transfer syntax of retrieved instances when the client names none: as PS3.18 says, or as stored.",
    )
    strict_accept: bool = Field(
        False, description="Refuse requests without an Accept header with 406, as PS3.18 8.7.5 says."
    )
    grace: float = Field(30.0, ge=0, description="Seconds that work in flight may take to finish at a stop.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")

    @field_validator("trusted_proxies", "cors_origins", "calling_aets", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for one in value:
            ipaddress.ip_network(one)
        return value

    @field_validator("timezone")
    @classmethod
    def _offset(cls, value: str) -> str:
        if value and value not in OFFSETS:
            raise ValueError("an offset from UTC has the form +0100, in quarters of an hour from -1200 to +1400")
        return value

    @field_validator("empty_search", mode="before")
    @classmethod
    def _status(cls, value: Any) -> Any:
        return int(value) if isinstance(value, str) and value.isdigit() else value

    @field_validator("http", "dimse", "dimse_tls")
    @classmethod
    def _address(cls, value: str, info: ValidationInfo) -> str:
        if value or info.field_name != "dimse_tls":
            split_address(value)
        return value

    @model_validator(mode="after")
    def _targets(self) -> Self:
        known = {peer.aet for peer in self.peers}
        for rule in self.forward:
            if not rule.to.startswith(("http://", "https://")) and rule.to not in known:
                raise ValueError("forward: a rule's target is neither a URL nor the AE title of a peer")
        return self

    @model_validator(mode="after")
    def _certificate(self) -> Self:
        if self.dimse_tls and self.dimse_tls_cert is None:
            raise ValueError("dimse_tls_cert: dimse_tls needs a certificate")
        return self

    @model_validator(mode="after")
    def _encrypted(self) -> Self:
        if self.s3_customer_key is not None and self.s3_encryption:
            raise ValueError("s3_encryption: the server encrypts with s3_customer_key or with a key of its own")
        return self

    @field_validator("aet")
    @classmethod
    def _title(cls, value: str) -> str:
        title = value.strip()
        if not title or not title.isascii() or not title.isprintable() or "\\" in title:
            raise ValueError("an AE title has 1 to 16 printable ASCII characters, no backslash")
        return title

    @property
    def encryption(self) -> Encryption:
        """How objects are encrypted at rest. Raises BadSettings for a key that is none."""
        if self.s3_customer_key is None:
            method = "aws:kms" if self.s3_encryption.startswith("aws:kms") else self.s3_encryption
            return Encryption(method, self.s3_encryption.removeprefix(method).removeprefix(":"))
        try:
            key = b64decode(self.s3_customer_key.read_bytes().strip(), validate=True)
        except OSError as error:
            raise BadSettings(f"s3_customer_key: the file cannot be read: {error.strerror}") from error
        except ValueError:
            key = b""
        if len(key) != KEY_BYTES:
            raise BadSettings("s3_customer_key: the file has to hold 32 bytes in base64 (openssl rand -base64 32)")
        endpoint = urlsplit(self.s3_endpoint or "")
        if endpoint.scheme == "http" and not is_loopback(f"{endpoint.hostname}:0"):
            raise BadSettings("s3_customer_key: the key would go to s3_endpoint in the clear; it needs https")
        return Encryption(customer_key=key)

    @property
    def closed(self) -> bool:
        """Do requests over HTTP need credentials?"""
        return bool(self.token or self.oidc or self.api_keys or self.basic_auth or self.http_tls_ca)

    @property
    def proxy_networks(self) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
        """`trusted_proxies` as networks."""
        return tuple(ipaddress.ip_network(one) for one in self.trusted_proxies)

    @property
    def objects_url(self) -> str:
        """The object store's URL, the default worked out."""
        return self.objects or (self.data.resolve() / "objects").as_uri()

    @property
    def index_url(self) -> str:
        """The index's URL, the default worked out."""
        return self.index or f"sqlite:///{self.data.resolve() / 'index.db'}"

    @property
    def processes(self) -> int:
        """How many processes serve; one where nobody has decided."""
        return self.workers or 1

    @property
    def spool(self) -> Path:
        """Folder of files being received: on the object store's own file system where that is a folder."""
        return self.data.resolve() / "spool"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, then environment, then the TOML file that `load` names."""
        sources = (init_settings, env_settings)
        file = settings_cls.model_config.get("toml_file")
        return (*sources, TomlConfigSettingsSource(settings_cls)) if file else sources


def load(flags: Mapping[str, Any] | None = None, config: Path | None = None) -> Settings:
    """The settings from `config`, the environment and `flags` (None values are flags not given). Raises BadSettings."""
    kind: type[Settings] = Settings
    if config is not None:
        if not config.is_file():
            raise BadSettings(f"config: there is no file {config}")
        kind = type("Settings", (Settings,), {"model_config": {**Settings.model_config, "toml_file": config}})
    try:
        return kind(**{key: value for key, value in (flags or {}).items() if value is not None})
    except ValidationError as error:
        wrong = [f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}" for one in error.errors()]
        raise BadSettings("; ".join(wrong)) from error
    except ValueError as error:  # a TOML file that is none
        raise BadSettings(f"config: {error}") from error


def split_address(address: str) -> tuple[str, int]:
    """`HOST:PORT` or `[IPv6]:PORT` in two. Raises ValueError."""
    host, colon, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError("an address has the form HOST:PORT")
    return host, int(port)


def is_loopback(address: str) -> bool:
    """Does this HOST:PORT accept connections from this machine only."""
    host, _ = split_address(address)
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_exposure(settings: Settings) -> None:
    """Refuse to listen beyond this machine without authentication (S-70). Raises BadSettings naming what is missing."""
    if settings.insecure:
        return
    if not is_loopback(settings.http) and not settings.closed:
        raise BadSettings(
            f"token: {settings.http} can be reached from other machines; set GANTRY_TOKEN, GANTRY_API_KEYS, [oidc] or "
            "GANTRY_HTTP_TLS_CA, or --insecure to run open"
        )
    if not is_loopback(settings.dimse) and not (settings.calling_aets or settings.peers):
        raise BadSettings(
            f"calling_aets: {settings.dimse} can be reached from other machines; set GANTRY_CALLING_AETS or [[peers]], "
            "or --insecure to let any AE title in"
        )
    if settings.dimse_tls and not is_loopback(settings.dimse_tls) and not allows_few(settings):
        raise BadSettings(
            f"dimse_tls_ca: {settings.dimse_tls} can be reached from other machines; set GANTRY_DIMSE_TLS_CA and "
            "require certificates, or set GANTRY_CALLING_AETS or [[peers]], or --insecure to let any AE title in"
        )


def allows_few(settings: Settings) -> bool:
    """Is the DIMSE listener with TLS for some only: by their certificates, or by their AE titles?"""
    certified = settings.dimse_tls_ca is not None and settings.dimse_tls_clients == "required"
    return certified or bool(settings.calling_aets or settings.peers)
