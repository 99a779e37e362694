"""TLS for whoever listens: the context for the handshakes, and what it cannot check by itself.

ServerTls   made once by `server_tls`; `context` goes to the event loop, `refusal` is asked
            after each handshake, `common_name` says who the client is
"""

from __future__ import annotations

from kvstore.server.tls.listener import ServerTls, server_tls

__all__ = ["ServerTls", "server_tls"]
