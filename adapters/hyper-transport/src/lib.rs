//! Streamable HTTP over raw hyper.
