import os
import socket
import subprocess

from harness.clients.sockets import TcpConnection, parse_proc_net_tcp, tcp_connections

TABLE = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1 0 100 0 0 10 0
   1: 02014D7F:9C40 0100007F:1F90 01 00000000:00000000 00:00000000 00000000     0        0 222 1 0 20 4 30 10 -1
"""
TABLE6 = """  sl  local_address  remote_address  st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0000000000000000FFFF00000100007F:0D0C 00000000000000000000000001000000:1F90 01 0:0 0:0 0 0 0 333 1 0
"""


def test_the_kernels_tables():
    assert list(parse_proc_net_tcp(TABLE)) == [(222, TcpConnection("127.77.1.2:40000", "127.0.0.1:8080"))]
    assert list(parse_proc_net_tcp(TABLE6)) == [(333, TcpConnection("127.0.0.1:3340", "[::1]:8080"))]


def test_the_remote_address_has_no_port():
    assert TcpConnection("127.0.0.1:1", "[::1]:80").remote_address == "::1"
    assert TcpConnection("127.0.0.1:1", "127.0.0.9:80").remote_address == "127.0.0.9"


def test_a_connection_of_ours_is_found_from_both_ends():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        with client, listener.accept()[0]:
            here = "{}:{}".format(*client.getsockname())
            there = "{}:{}".format(*listener.getsockname())
            assert {TcpConnection(here, there), TcpConnection(there, here)} <= tcp_connections(os.getpid())


def test_another_process_has_none_of_our_connections_and_a_dead_one_has_none():
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()):
        other = subprocess.Popen(["sleep", "60"])
        try:
            assert tcp_connections(other.pid) == set()
        finally:
            other.kill()
            other.wait()
        assert tcp_connections(other.pid) == set()
