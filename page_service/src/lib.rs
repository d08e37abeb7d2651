//! The page stream protocol over libpq framing: messages, server, client.
