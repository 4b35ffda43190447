"""The names that real containers know: their own, those of other hosts, and who resolves them."""

from __future__ import annotations

import pytest

from lab.specs import assert_clean, one, shell

pytestmark = pytest.mark.lab


def test_without_a_name_a_container_has_the_pods_and_with_the_network_of_the_host_the_workers(pods):
    job = pods.run(one(shell("hostname; grep -c '^127.0.0.1 pod$' /etc/hosts")))
    assert job.log() == b"pod\n1\n", job.job_log
    own = pods.run(one(shell("hostname"), hostNetwork=True, hostname="mine")).log()
    assert own.strip() not in (b"", b"mine", b"pod")


def test_a_container_has_its_name_and_resolves_it(pods):
    job = pods.run(one(shell("hostname; grep -c '^127.0.0.1 my-pod$' /etc/hosts"), hostname="my-pod"))
    assert job.log() == b"my-pod\n1\n", job.job_log
    job = pods.run(one(shell("hostname"), hostname="my-pod", hostnameOverride="other.example.org"))
    assert job.log() == b"other.example.org\n", job.job_log


def test_aliases_stand_in_the_hosts_file(pods):
    aliases = [{"ip": "10.1.2.3", "hostnames": ["store", "store.example.org"]}, {"ip": "fd00::1", "hostnames": ["six"]}]
    main = shell("grep -c localhost /etc/hosts; tail -n 2 /etc/hosts; echo x 2>/dev/null >>/etc/hosts || echo refused")
    job = pods.run(one(main, hostAliases=aliases))
    count, *rest = job.log().decode().splitlines()
    assert int(count) > 0
    assert rest == ["10.1.2.3 store store.example.org", "fd00::1 six", "refused"], job.job_log
    assert_clean(job)


def test_a_resolver_of_the_pods_own(pods):
    config = {
        "nameservers": ["10.0.0.53"],
        "searches": ["a.example.org", "b.example.org"],
        "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}],
    }
    lines = b"nameserver 10.0.0.53\nsearch a.example.org\nsearch b.example.org\noptions ndots:2\noptions edns0\n"
    job = pods.run(one(shell("cat /etc/resolv.conf"), dnsPolicy="None", dnsConfig=config))
    assert job.log() == lines.replace(b"example.org\nsearch ", b"example.org "), job.job_log
    job = pods.run(one(shell("cat /etc/resolv.conf"), dnsConfig=config))
    assert job.log().endswith(lines.replace(b"example.org\nsearch ", b"example.org "))
    assert job.log().count(b"nameserver") > 1


def test_a_volume_in_the_place_of_these_files_stays(pods):
    config = {"kind": "ConfigMap", "metadata": {"name": "hosts"}, "data": {"hosts": "mine\n"}}
    mounts = [{"name": "hosts", "mountPath": "/etc/hosts", "subPath": "hosts"}]
    volumes = [{"name": "hosts", "configMap": {"name": "hosts"}}]
    aliases = [{"ip": "10.1.2.3", "hostnames": ["store"]}]
    job = pods.run(one(shell("cat /etc/hosts", volumeMounts=mounts), volumes=volumes, hostAliases=aliases), config)
    assert job.log() == b"mine\n", job.job_log
