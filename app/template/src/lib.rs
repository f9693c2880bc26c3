//! An MCP server, secured by Auth0: what it offers, and how it is set up.

mod notes;
mod word_count;

use fastmcp_auth0::{Server, ServerBuilder};

use crate::notes::{ListNotes, Notes, NotesConfig, SaveNote};

/// Returns the server, yet to be run.
pub fn server() -> ServerBuilder {
    Server::builder()
        .identity(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
        .defaults(include_str!("../config/default.toml"))
        .section::<NotesConfig>("notes")
        .secret("notes.url")
        .describe_scope("notes:read", "Read your notes")
        .describe_scope("notes:write", "Save notes for you")
        .local_permission("Tool User", "notes:read")
        .tool(word_count::tool())
        .setup(|setup| async move {
            let notes = Notes::open(&setup.section("notes")?).await?;
            let closing = notes.clone();
            Ok(setup
                .tool(SaveNote(notes.clone()))
                .tool(ListNotes(notes))
                .on_shutdown(|| async move { closing.close().await }))
        })
}
