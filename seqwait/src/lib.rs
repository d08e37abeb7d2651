//! Wait until a sequence number arrives.
