//! Where the server listens besides TCP: Unix sockets, sockets that systemd passes on, and TLS on any of them.

mod certificates;
mod systemd;
mod tls;
mod unix;
