"""The whole gateway as a process of its own, by real sockets and real clients, on real servers."""
