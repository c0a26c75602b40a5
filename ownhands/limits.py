"""What a client may cost: the limits and deadlines of an HTTP connection, class attributes of every handler.

Refuses to know who enforces them.
"""


class Limits:
    """Each can be set in a handler class, or given to HTTPServer by keyword."""

    max_target_size = 8 << 10  # octets of a request target; 414
    max_head_size = 64 << 10  # octets of a request line and its fields; 431
    max_fields = 128  # field lines of a head, and of a trailer section; 431
    max_content_size = 16 << 20  # octets of content; 413
    max_memory_size = 1 << 20  # octets of content kept in memory, a larger one goes to a temporary file
    max_trailer_size = 8 << 10  # octets of a trailer section; 431
    max_chunk_line_size = 1 << 10  # octets of a chunk's size and extensions; 400
    max_unread_size = 64 << 10  # octets of unwanted content that are dropped to keep the connection
    max_requests: int | None = None  # requests on one connection; then it is closed
    head_timeout = 10.0  # seconds from the first octet of a head (from connect, for the first); 408
    handshake_timeout = 10.0  # seconds from connect to the first request, over TLS
    content_timeout = 10.0  # seconds without an octet of content; 408
    send_timeout = 10.0  # seconds without an octet taken by the client; the answer is aborted
    idle_timeout = 75.0  # seconds from an answer to the next request
    linger_timeout = 2.0  # seconds in which a client can read the last answer, whatever it still sends
    min_rate = 240.0  # octets per second, of contents and of answers; 408, or aborted; 0 asks for none
    rate_grace = 5.0  # seconds before `min_rate` counts
    receive_size = 64 << 10  # octets asked for at once
    stream_content = False  # whether `on_request` comes before the content, to read it from `request.stream`
