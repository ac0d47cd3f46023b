"""Ceph RADOS Gateway of Debian: one monitor, one OSD, one gateway, with keys made here."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.parts.debian import find
from tests.parts.machine import free_ports
from tests.parts.processes import background, wait_until
from tests.parts.s3 import ACCESS_KEY, SECRET_KEY, S3Server, answers

KMS_KEY = "key-1"
"""The name of the one key that the server's key management has."""

PROGRAMS = ("radosgw", "ceph-mon", "ceph-osd", "ceph")

# One copy of everything, small pools, quick elections: the smallest cluster that behaves as a large one does.
SETTINGS = """\
[global]
fsid = {fsid}
mon_initial_members = a
mon_host = [v2:127.0.0.1:{mon_v2},v1:127.0.0.1:{mon_v1}]
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
auth_cluster_required = cephx
auth_service_required = cephx
auth_client_required = cephx
auth_allow_insecure_global_id_reclaim = false
run_dir = {folder}
admin_socket = {folder}/$name.asok
log_file = {folder}/$name.log
crash_dir = {folder}/crash
keyring = {folder}/keyring
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_crush_chooseleaf_type = 0
osd_pool_default_pg_num = 4
osd_pool_default_pgp_num = 4
osd_pool_default_pg_autoscale_mode = off
mon_allow_pool_size_one = true
mon_warn_on_pool_no_redundancy = false
mon_max_pg_per_osd = 1000
mon_data_avail_crit = 1
mon_data_avail_warn = 2
paxos_propose_interval = 0.1
paxos_min_wait = 0.01
osd_fast_shutdown = true
[mon.a]
mon_data = {folder}/mon.a
[osd]
osd_data = {folder}/osd.$id
osd_objectstore = bluestore
osd_op_num_shards = 2
osd_op_num_threads_per_shard = 1
osd_memory_target = 1073741824
osd_class_update_on_start = true
bluestore_block_create = true
bluestore_block_size = 10737418240
bluestore_block_db_create = false
bluestore_block_wal_create = false
bluestore_cache_autotune = false
bluestore_cache_size = 134217728
[client.rgw]
rgw_frontends = beast endpoint=127.0.0.1:{port} tcp_nodelay=1
rgw_thread_pool_size = 64
rgw_enable_usage_log = false
rgw_run_sync_thread = false
rgw_num_control_oids = 1
rgw_dns_name = localhost
rgw_override_bucket_index_max_shards = 1
rgw_gc_max_objs = 4
rgw_lc_max_objs = 4
rgw_dynamic_resharding = false
rgw_crypt_require_ssl = false
rgw_crypt_s3_kms_backend = testing
rgw_crypt_s3_kms_encryption_keys = {kms_key}=YSBrZXkgb2YgMzIgYnl0ZXMsIGZvciB0ZXN0cyBvbmw=
"""

CAPABILITIES = {
    "mon.": {"mon": "allow *"},
    "client.admin": {"mon": "allow *", "osd": "allow *", "mgr": "allow *"},
    "client.rgw": {"mon": "allow rw", "osd": "allow rwx"},
    "osd.0": {"mon": "allow profile osd", "osd": "allow *"},
}


class Cluster:
    """The files of one cluster, and the commands that know them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = folder / "ceph.conf"
        self.port, self.mon_v1, self.mon_v2 = free_ports(3)
        self.fsid = str(uuid.uuid4())
        (folder / "crash").mkdir()
        self.settings.write_text(SETTINGS.format(kms_key=KMS_KEY, **vars(self)))

    def program(self, name: str) -> str:
        """Path of one of Ceph's programs."""
        path = find(name)
        if path is None:
            raise FileNotFoundError(f"{name}: Debian's packages radosgw, ceph-mon, ceph-osd and ceph-common")
        return path

    def run(self, name: str, *arguments: object, check: bool = True) -> str:
        """Run a program of Ceph; what it prints. Raises RuntimeError with its messages when it fails."""
        command = [self.program(name), "-c", str(self.settings), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=self.folder, check=False)
        if check and done.returncode:
            raise RuntimeError(f"{name} ended with status {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def ceph(self, *arguments: object, check: bool = True) -> str:
        """Run a command of the monitor."""
        return self.run("ceph", "--connect-timeout", 20, *arguments, check=check)

    def make_monitor(self) -> None:
        """Keys, the map of monitors, and the monitor's store."""
        keyring, names = self.folder / "keyring", self.folder / "monmap"
        self.run("ceph-authtool", "--create-keyring", keyring)
        for name, capabilities in CAPABILITIES.items():
            caps = [word for kind, what in capabilities.items() for word in ("--cap", kind, what)]
            self.run("ceph-authtool", keyring, "--gen-key", "-n", name, *caps)
        address = f"[v2:127.0.0.1:{self.mon_v2},v1:127.0.0.1:{self.mon_v1}]"
        self.run("monmaptool", "--create", "--clobber", "--addv", "a", address, "--fsid", self.fsid, names)
        (self.folder / "mon.a").mkdir()
        self.run("ceph-mon", "-i", "a", "--mkfs", "--monmap", names, "--keyring", keyring)

    def make_osd(self) -> None:
        """The one object storage daemon's store; the monitor must be up."""
        (self.folder / "osd.0").mkdir()
        name = str(uuid.uuid4())
        self.ceph("osd", "new", name, 0)
        self.run("ceph-osd", "-i", 0, "--mkfs", "--osd-uuid", name)
        self.ceph("osd", "crush", "add", "osd.0", "1.0", "host=tests", "root=default")

    def make_user(self) -> None:
        """The user whose keys the tests have."""
        keys = ("--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY)
        self.run("radosgw-admin", "-n", "client.rgw", "user", "create", "--uid=tests", "--display-name=tests", *keys)


@contextmanager
def run(folder: Path) -> Iterator[S3Server]:
    """The cluster while the context lasts, with its data in `folder` (a short path: sockets lie there)."""
    cluster = Cluster(folder)
    cluster.make_monitor()
    environment = {"HOME": str(folder), "PATH": os.environ.get("PATH", os.defpath)}
    settings = ("-c", str(cluster.settings), "-f")
    with ExitStack() as running:
        log = folder / "mon.out"
        command = [cluster.program("ceph-mon"), *settings, "-i", "a"]
        monitor = running.enter_context(background(command, log, env=environment, patience=3.0))
        wait_until(lambda: "HEALTH" in cluster.ceph("health", check=False), "ceph-mon", monitor, log)
        cluster.make_osd()
        log = folder / "osd.out"
        command = [cluster.program("ceph-osd"), *settings, "-i", "0"]
        osd = running.enter_context(background(command, log, env=environment, patience=3.0))
        wait_until(lambda: "1 up" in cluster.ceph("osd", "stat", check=False), "ceph-osd", osd, log)
        log = folder / "rgw.out"
        command = [cluster.program("radosgw"), *settings, "-n", "client.rgw", "--rgw-data", str(folder / "rgw")]
        gateway = running.enter_context(background(command, log, env=environment, patience=1.0))
        endpoint = f"http://127.0.0.1:{cluster.port}"
        wait_until(lambda: answers(endpoint), "radosgw", gateway, log, 90)
        cluster.make_user()
        yield S3Server("rgw", endpoint, gateway.pid)
