"""Where the server of a stage listens."""

from pathlib import Path

import pytest

from vllm_patchkit.worker import server


def test_its_port_is_none_that_the_kernel_hands_out():
    first, _ = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    if first < server.OWN_PORTS.stop:
        pytest.skip(f"this machine hands out ports from {first} on")
    ports = {server.free_port() for _ in range(50)}
    assert max(ports) < first
    assert len(ports) > 40


@pytest.mark.parametrize(("load", "limit_s"), [(0.3, 10), (2.0, 10), (15.0, 75)])
def test_it_may_take_longer_to_end_on_a_busy_machine(monkeypatch, load, limit_s):
    monkeypatch.setattr(server.os, "getloadavg", lambda: (load, 0.0, 0.0))
    monkeypatch.setattr(server.os, "cpu_count", lambda: 2)
    assert server.stop_limit_s() == limit_s


def test_where_all_of_those_are_taken_it_is_one_of_the_kernels(monkeypatch):
    class Taken(server.socket.socket):
        def bind(self, address):
            if address[1]:
                raise OSError
            super().bind(address)

    monkeypatch.setattr(server.socket, "socket", Taken)
    assert server.free_port() not in server.OWN_PORTS
