//! HTTP/2 flow control numbers of both sides of the core, in one place because they only make sense together.

/// Bytes that one stream may send ahead of its reader. Large enough for camera frames to flow without waiting, small
/// enough that a reader who sleeps costs little. Four times as much made no camera frame faster, and the core 8 MB
/// larger while eight of 4 MB were on their way.
pub const STREAM_WINDOW: u32 = 512 << 10;

/// Bytes that all streams of a connection may send ahead together: without practical limit. Were it near
/// [`STREAM_WINDOW`], one stream whose reader sleeps would stop every other on its connection, `Stop` included.
pub const CONNECTION_WINDOW: u32 = (1 << 31) - 1;

/// Largest frame that peers may send us, in bytes: large frames save work, smaller ones keep
/// memory flat and let the next hop begin before the last byte has come.
pub const MAX_FRAME: u32 = 64 << 10;

/// Bytes that one stream may have waiting in the core for the socket.
pub const SEND_BUFFER: usize = 512 << 10;

/// Streams that a peer may have open at once. Limits with a meaning are set per client and per resource, not here.
pub const MAX_STREAMS: u32 = 10_000;

/// Most bytes of headers per message. Metadata is small; error texts of several thousand characters must pass.
pub const MAX_HEADERS: u32 = 1 << 20;

/// Streams begun and reset again before the core saw them, until their connection counts as hostile. A client that
/// drops a hundred calls at once is normal.
pub const MAX_PENDING_RESETS: usize = 1_000;

/// Streams that were reset lately and of which more may still be on its way. Such frames are dropped silently; those of
/// older ones are answered with an error, and enough of these end the connection.
pub const MAX_RECENT_RESETS: usize = 10_000;
