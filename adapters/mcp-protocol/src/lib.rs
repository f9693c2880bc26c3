//! MCP in both eras.
