"""The composition root: settings, archive, listeners; start and stop."""

from __future__ import annotations

import gc
import resource
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from types import FrameType

import uvicorn
from starlette.routing import BaseRoute, Mount
from starlette.types import ASGIApp

from gateway import http, isolated, metrics, render, running, tasks
from gateway.audit import FAILED, SUCCESS, Audit, event_of
from gateway.audit.sending import Sender, senders
from gateway.authentication import Authentication
from gateway.caller import Caller
from gateway.coerce import Coercer
from gateway.delete import describe_again
from gateway.dicomweb.catalogue import SERVICES as DICOMWEB
from gateway.dicomweb.routes import routes as dicomweb_routes
from gateway.dicomweb.routes import uri_routes
from gateway.dimse.delivery import Deliveries
from gateway.dimse.notification import Notifications
from gateway.dimse.places import Seat
from gateway.dimse.report import Reports
from gateway.dimse.server import DimseServer, bind_both
from gateway.errors import GatewayError
from gateway.forwarding import Feed, is_web
from gateway.http import (
    audit,
    authorities,
    changes,
    credentials,
    deleted,
    documentation,
    health,
    integrity,
    permission,
    queue,
    session,
)
from gateway.http.protocol import Protocol
from gateway.integrity import Scrubber
from gateway.logs import get_logger
from gateway.outgoing import audited
from gateway.rebuild import PENDING
from gateway.recover import recover
from gateway.settings import BadSettings, Settings, check_exposure, split_address
from gateway.tasks import Handler, Outcome
from gateway.thumbnails import Thumbnails
from gateway.tls import WebTls
from gateway.ui.routes import routes as ui_routes
from gateway.uploads import Uploads
from gateway.version import gantry_version
from gateway.warming import Warmer
from gateway.webhooks import Deliverer, WebhookFeed
from gateway.workers import Workers
from storage import Archive, open_archive
from storage.errors import IndexBehind, RebuildPending, StorageError
from storage.tasks import Task

log = get_logger("app")

OWN = (
    *(queue.SERVICE, changes.SERVICE, credentials.SERVICE, audit.SERVICE, session.SERVICE, integrity.SERVICE),
    *(authorities.SERVICE, deleted.SERVICE, health.SERVICE),
)
"""Services besides those of DICOMweb."""

COLLECT_EVERY = 60.0
SWEEP_EVERY = 24 * 3600.0
MARK_SECONDS = 3.0
"""Seconds that the last mark may take, when the gateway stops."""
CREDENTIALS_KEPT = 90 * SWEEP_EVERY
"""Seconds for which credentials that ended are still listed."""
WARM_AFTER = 3.0
"""Seconds after the start when decoders are started that no request has needed yet, and all modules are there."""
FILES = 4096
"""Open files that everything but associations may need: waiting connections, web requests, index, objects."""
FILES_PER_ASSOCIATION = 4


def open_from(settings: Settings, *, beside: bool = False) -> Archive:
    """The archive that the settings name; `beside` another process of ours. Raises BadSettings, StorageError."""
    try:
        archive = open_archive(
            settings.objects_url,
            settings.index_url,
            settings.spool,
            endpoint=settings.s3_endpoint,
            region=settings.s3_region,
            encryption=settings.encryption,
            patience=settings.patience,
            replace=settings.duplicates == "replace",
            delete_delay=settings.delete_delay,
            reserve=settings.spool_reserve,
            budget=settings.max_spooled_bytes // settings.processes,
            derived_max_bytes=settings.derived_max_bytes,
            beside=beside,
        )
    except ValueError as error:
        raise BadSettings(f"objects or index: {error}") from error
    if not beside:
        recover(archive)
    return archive


def audit_of(settings: Settings, archive: Archive) -> Audit | None:
    """The audit that the settings want, not started yet."""
    if settings.audit == "off":
        return None
    folder = settings.data.resolve() / "audit"
    return Audit(folder, archive, required=settings.audit == "required", days=settings.audit_days)


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; then finish what is in flight, for `settings.grace` seconds at most.

    Prints one line on standard output once both listeners accept. Raises BadSettings, StorageError.
    """
    with prepared(settings) as archive:
        Gateway(archive, settings).run()


@contextmanager
def prepared(settings: Settings) -> Iterator[Archive]:
    """The archive to be served, with all that can be wrong looked at first. Raises BadSettings, StorageError."""
    check_exposure(settings)
    Coercer.of(settings)  # says what is wrong with its rules before anything is opened
    _allow_files(settings)
    with closing(open_from(settings)) as archive:
        if archive.index.note(PENDING) is not None:
            raise RebuildPending("the index does not know all stored objects; run `gantry index rebuild` first")
        yield archive


def _allow_files(settings: Settings) -> None:
    """Raise the limit of open files as far as we may and need, and say so where that is too low (F-68)."""
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES + FILES_PER_ASSOCIATION * settings.max_associations
    if allowed < wanted:
        allowed = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, most))
    if allowed < wanted:
        log.warning("few_open_files", allowed=allowed, wanted=wanted)


@dataclass(frozen=True, slots=True)
class Sockets:
    """What a gateway listens on."""

    http: socket.socket
    dimse: socket.socket
    dimse_tls: socket.socket | None = None


def new_secret() -> str:
    """A secret for commands on this machine."""
    return secrets.token_urlsafe(32)


def listen(settings: Settings) -> Sockets:
    """Listen on the addresses of the settings. Raises BadSettings."""
    http = _listen(settings.http)
    try:
        return Sockets(http, *bind_both(settings))
    except BadSettings:
        http.close()
        raise


class Gateway:
    """Both listeners and the housekeeping over one archive.

    Where several processes serve, `sockets` and `local`, the secret of commands on this machine, are those that they
    share; `seat` says which of them this is, and the first does what is to be done once.
    """

    def __init__(
        self,
        archive: Archive,
        settings: Settings,
        sockets: Sockets | None = None,
        seat: Seat | None = None,
        local: str = "",
    ) -> None:
        self._archive = archive
        self._settings = settings
        self._sockets = sockets
        self._seat = seat
        self._leads = seat is None or seat.number == 0
        self._marked: bool | None = None
        """Was the index older than the objects, when that was looked at last?"""
        self._stopping = threading.Event()
        self._local = local or new_secret()
        self._authentication = Authentication(settings, archive, self._local)
        self._audit = audit_of(settings, archive)
        self._told: list[Sender] = []
        self._tls = WebTls(settings) if settings.http_tls_cert is not None else None

    def run(self) -> None:
        """Serve in this thread until a signal says stop."""
        # uvicorn raises the signal again once it is done; these handlers let the process go on to its clean end
        signal.signal(signal.SIGTERM, _ignore)
        signal.signal(signal.SIGINT, _ignore)
        self._start_audit()
        self._count_spooled()
        if self._leads and self._settings.objects_url.startswith("s3:"):
            threading.Thread(target=self._look_at_bucket, name="bucket", daemon=True).start()
        isolated.configure(_decoding(self._settings))
        feed, webhooks = Feed(self._archive, self._settings), WebhookFeed(self._archive, self._settings)
        if self._leads:
            feed.start()
            webhooks.start()

        def advance() -> None:
            feed.advance()
            webhooks.advance()

        workers = Workers(self._archive, handlers(self._archive, self._settings, self._audit), advance)
        thumbnails = Thumbnails(self._archive, self._settings)
        bundler = Warmer(self._archive)
        sockets = self._sockets or listen(self._settings)
        dimse = DimseServer(
            self._archive,
            self._settings,
            authentication=self._authentication,
            seat=self._seat,
            audit=self._audit,
        )
        host, port = dimse.start((sockets.dimse, sockets.dimse_tls))
        url = f"{'http' if self._tls is None else 'https'}://{_shown(sockets.http)}"
        stopper = threading.Thread(target=self._stop_dimse, args=(dimse,), name="stop-dimse", daemon=True)
        keeper = threading.Thread(target=self._keep_house, name="housekeeping", daemon=True)
        # the other processes only learn what was found, so that they do not serve it either
        days = self._settings.scrub_days if self._leads else 0.0
        scrubber = Scrubber(self._archive, days, self._settings.scrub_rate)
        scrub = threading.Thread(target=scrubber.run, args=(self._stopping,), name="scrubber", daemon=True)
        ready = f"gantry {gantry_version()} ready: {url} dimse {self._settings.aet}@{_joined(host, port)}"
        if dimse.tls_address is not None:
            ready += f" dimse-tls {self._settings.aet}@{_joined(*dimse.tls_address)}"
        warmer = threading.Timer(WARM_AFTER, _settle)
        warmer.daemon = True
        signal.signal(signal.SIGHUP, lambda _signal, _frame: self._reload_soon(dimse))

        def started() -> None:
            if self._leads:
                self._announce(url)
                keeper.start()
                workers.start()
                thumbnails.start()
                bundler.start()
            scrub.start()
            print(ready, flush=True)
            if self._tls is not None:
                threading.Thread(target=self._watch_certificate, args=(url,), name="certificate", daemon=True).start()
            log.info("ready", http=url, dimse=f"{host}:{port}")
            stopper.start()
            warmer.start()

        server = _Server(_config(self._app(port), self._settings, self._tls), started, self._stopping.set)
        try:
            server.run(sockets=[sockets.http])
        finally:
            self._stopping.set()
            warmer.cancel()
            if self._leads:
                running.withdraw(self._settings.data)
                if keeper.is_alive():
                    keeper.join(MARK_SECONDS)
                thumbnails.stop()
                workers.stop(self._settings.grace)
                bundler.stop(self._settings.grace)
            if stopper.is_alive():
                stopper.join(self._settings.grace + 5)
            if self._audit is not None:
                self._audit.stop()
            for sender in self._told:
                sender.stop()
            log.info("stopped")

    def _reload_soon(self, dimse: DimseServer) -> None:
        """Load certificates again (F-70)."""
        dimse.reload_soon()
        if self._tls is not None:
            self._tls.reload_soon()

    def _announce(self, url: str) -> None:
        """Tell commands on this machine where we are."""
        if self._leads:
            running.announce(self._settings.data, url, self._local, self._tls.fingerprint if self._tls else "")

    def _watch_certificate(self, url: str) -> None:
        """Take a new certificate for HTTP into use; connections that are open keep theirs."""
        while self._tls is not None and not self._stopping.wait(1.0):
            if self._tls.refresh():
                self._announce(url)

    def _start_audit(self) -> None:
        """Raises BadSettings."""
        if self._audit is None:
            return
        try:
            self._told = senders(self._settings, self._audit.folder) if self._leads else []
        except OSError as error:
            raise BadSettings(f"audit_syslog: certificates cannot be read: {error}") from error
        self._audit.start()
        for sender in self._told:
            self._audit.when_written(sender.wake)
            sender.start()

    def _app(self, dimse_port: int) -> ASGIApp:
        checks = [
            ("objects", self._archive.objects.check),
            ("index", self._archive.index.check),
            ("stopping", self._check_stopping),
        ]
        if self._audit is not None:
            checks.append(("audit", self._audit.check))
        routes: list[BaseRoute] = [
            *health.routes(checks, partial=self._partial(), registry=metrics.registry()),
            Mount("/dicomweb", routes=dicomweb_routes(self._archive, self._settings)),
            *uri_routes(self._archive, self._settings),
            *queue.routes(self._archive, self._settings),
            *integrity.routes(self._archive),
            *deleted.routes(self._archive),
            *changes.routes(self._archive),
            *credentials.routes(self._archive, self._settings, self._authentication),
            *audit.routes(self._archive, self._audit),
            *session.routes(self._settings, self._authentication, self._audit),
            *authorities.routes(self._settings),
            *documentation.routes([*DICOMWEB, *OWN], gantry_version()),
            *permission.for_everybody(self._page(dimse_port)),
        ]
        permission.check(routes)
        return http.application(routes, self._settings, self._authentication, self._audit)

    def _partial(self) -> list[health.Check]:
        """What may fail while reads go on."""
        return [("spool", self._archive.spool.check), ("history", self._archive.high_water.check)]

    def _page(self, dimse_port: int) -> list[BaseRoute]:
        sign_in = self._authentication.sign_in is not None
        return ui_routes(self._settings.data, aet=self._settings.aet, dimse_port=dimse_port, sign_in=sign_in)

    def _look_at_bucket(self) -> None:
        """Warn of a bucket that is open to strangers (S-86). One that does not answer is for `/readyz` to tell."""
        with suppress(StorageError):
            if public := self._archive.objects.facts().get("public"):
                log.warning("bucket is public", strangers_may=public)
            else:
                log.info("bucket is not public")

    def _count_spooled(self) -> None:
        """Have `/metrics` show what is being received: asked for then, or where processes add up, told every second."""
        spool = self._archive.spool
        if self._seat is None:
            metrics.SPOOLED_BYTES.set_function(lambda: spool.in_flight)
            return

        def tell() -> None:
            while not self._stopping.wait(1.0):
                metrics.SPOOLED_BYTES.set(spool.in_flight)

        threading.Thread(target=tell, name="spooled", daemon=True).start()

    def _check_stopping(self) -> None:
        if self._stopping.is_set():
            raise StorageError("the gateway is stopping")

    def _stop_dimse(self, dimse: DimseServer) -> None:
        self._stopping.wait()
        dimse.stop(self._settings.grace)

    def _keep_house(self) -> None:
        """Remove what is due, from time to time; a failure is a line in the log and another try later."""
        swept = time.monotonic() - SWEEP_EVERY + 300.0  # not while clients wait for the first answers
        self._mark_history()
        while not self._stopping.wait(COLLECT_EVERY):
            self._mark_history()
            try:
                describe_again(self._archive)
                metrics.GARBAGE_COLLECTED.inc(self._archive.collect())
                if time.monotonic() - swept >= SWEEP_EVERY:
                    metrics.ORPHANS_REMOVED.inc(self._archive.sweep())
                    self._archive.objects.tidy()
                    self._archive.derived.tidy(self._settings.delete_delay)
                    self._archive.index.expire_credentials(time.time() - CREDENTIALS_KEPT)
                    swept = time.monotonic()
            except IndexBehind:
                swept = time.monotonic()
                self._tell_behind()
            except (StorageError, GatewayError) as error:
                log.warning("housekeeping", error=type(error).__name__)
        self._mark_history()

    def _mark_history(self) -> None:
        """Note how far the index has come; say so where it is older than the objects (F-43)."""
        starting_or_stopping = self._marked is None or self._stopping.is_set()
        try:
            behind = self._archive.high_water.advance(0.0 if starting_or_stopping else COLLECT_EVERY / 2)
        except StorageError as error:
            log.warning("history_unmarked", error=type(error).__name__)
            return
        if behind is not None and not self._marked:
            self._tell_behind()
        metrics.INDEX_BEHIND.set(0 if behind is None else 1)
        self._marked = behind is not None

    def _tell_behind(self) -> None:
        log.error("index_behind", advice="the sweep waits: stop every gateway and run `gantry index reconcile`")


def _settle() -> None:
    """Start the decoders, and have the garbage collector leave out what stays for good: walking through all modules
    would take a tenth of a second, in the middle of every large answer.
    """
    isolated.warm(*render.WORKS)
    gc.collect()
    gc.freeze()


def _decoding(settings: Settings) -> isolated.Limits:
    """The share of one of the processes that serve: all together have as many decoders as the settings say."""
    wanted = settings.decoders or isolated.Limits().count
    return isolated.Limits(-(-wanted // settings.processes), settings.decoder_memory, settings.decoder_seconds)


@contextmanager
def command_audit(settings: Settings, archive: Archive) -> Iterator[Audit | None]:
    """That of a command which works on the archive itself: its events go into the log as those of the gateway do."""
    audit = audit_of(settings, archive)
    if audit is not None:
        audit.start(gateway=False)
    try:
        yield audit
    finally:
        if audit is not None:
            audit.stop()


def note(settings: Settings, archive: Archive, caller: Caller, action: str, *, good: bool) -> None:
    """Tell the audit of a command that has touched what is on the caller's trail."""
    with command_audit(settings, archive) as audit:
        if audit is not None:
            audit.record(event_of(caller, action, f"gantry {action}", SUCCESS if good else FAILED))


def handlers(archive: Archive, settings: Settings, audit: Audit | None = None) -> dict[str, Handler]:
    """Who does which kind of tasks."""
    deliveries, uploads = Deliveries(archive, settings), Uploads(archive, settings)

    def forward(batch: Sequence[Task]) -> Generator[Outcome, None, None]:
        return (uploads if is_web(batch[0].target) else deliveries)(batch)

    return {
        tasks.FORWARD: forward if audit is None else audited(forward, archive, audit),
        tasks.COMMITMENT: Reports(archive, settings),
        tasks.NOTIFICATION: Notifications(archive, settings),
        tasks.WEBHOOK: Deliverer(archive, settings),
    }


class _Server(uvicorn.Server):
    """uvicorn, saying when it accepts and when it was told to stop."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None], stopping: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = started
        self._on_stopping = stopping

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.should_exit:
            self._on_started()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._on_stopping()
        super().handle_exit(sig, frame)


def _config(app: ASGIApp, settings: Settings, tls: WebTls | None) -> uvicorn.Config:
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="off",
        http=Protocol,
        ws="none",
        timeout_keep_alive=75,
        timeout_graceful_shutdown=max(int(settings.grace), 1),
    )
    config.load()
    if tls is not None:
        config.ssl = tls.context
    return config


def _listen(address: str) -> socket.socket:
    host, port = split_address(address)
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise BadSettings(f"http: {address} cannot be listened on: {error.strerror}") from error
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _shown(listener: socket.socket) -> str:
    return _joined(*listener.getsockname()[:2])


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _ignore(_signal: int, _frame: FrameType | None) -> None:
    return None
