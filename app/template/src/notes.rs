//! `save_note` and `list_notes`: notes in SQLite, each its owner's alone. The owner is the token's subject.

use anyhow::Context as _;
use fastmcp_auth0::{Context, Json, Tool, ToolError, ToolHints};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};

/// The section `[notes]` of the configuration.
#[derive(Debug, Clone, Deserialize)]
pub struct NotesConfig {
    /// The database's URL, such as `sqlite://notes.db` or `sqlite::memory:`.
    url: String,
    /// The maximum number of connections.
    max_connections: u32,
}

/// The database.
#[derive(Clone)]
pub struct Notes(SqlitePool);

impl Notes {
    /// Opens the database, and creates what is not there.
    pub async fn open(config: &NotesConfig) -> anyhow::Result<Self> {
        let options: SqliteConnectOptions = config.url.parse().context("notes.url")?;
        let pool = SqlitePoolOptions::new()
            .max_connections(config.max_connections)
            .connect_with(options.create_if_missing(true))
            .await
            .context("can't open the database of notes.url")?;
        sqlx::query(
            "CREATE TABLE IF NOT EXISTS notes (id INTEGER PRIMARY KEY, owner TEXT NOT NULL, text TEXT NOT NULL)",
        )
        .execute(&pool)
        .await?;
        sqlx::query("CREATE INDEX IF NOT EXISTS notes_by_owner ON notes (owner)")
            .execute(&pool)
            .await?;
        Ok(Self(pool))
    }

    /// Closes the connections.
    pub async fn close(&self) {
        self.0.close().await;
    }
}

/// Saves a note for the caller.
pub struct SaveNote(pub Notes);

#[derive(Deserialize, JsonSchema)]
pub struct NewNote {
    /// The note's text.
    text: String,
}

#[derive(Serialize, JsonSchema)]
pub struct Note {
    /// The note's number.
    id: i64,
    /// The note's text.
    text: String,
}

impl Tool for SaveNote {
    const NAME: &'static str = "save_note";
    const TITLE: &'static str = "Save a note";
    const DESCRIPTION: &'static str = "Saves a note for the user and returns it with its number.";
    const SCOPES: &'static [&'static str] = &["notes:write"];
    const HINTS: ToolHints = ToolHints::UNKNOWN.additive().closed_world();
    type Input = NewNote;
    type Output = Json<Note>;

    async fn call(&self, input: NewNote, context: Context<'_>) -> Result<Json<Note>, ToolError> {
        if input.text.trim().is_empty() {
            return Err(ToolError::new("the note is empty; give it a text"));
        }
        let saved = sqlx::query("INSERT INTO notes (owner, text) VALUES (?, ?)")
            .bind(context.principal.subject())
            .bind(&input.text)
            .execute(&self.0.0)
            .await
            .map_err(|error| ToolError::caused_by("the note can't be saved", error))?;
        Ok(Json(Note {
            id: saved.last_insert_rowid(),
            text: input.text,
        }))
    }
}

/// Lists the caller's notes.
pub struct ListNotes(pub Notes);

#[derive(Deserialize, JsonSchema)]
pub struct Filter {
    /// A text that the notes contain; without it, all.
    containing: Option<String>,
}

#[derive(Serialize, JsonSchema)]
pub struct NoteList {
    /// The notes, the newest first; at most 100.
    notes: Vec<Note>,
}

impl Tool for ListNotes {
    const NAME: &'static str = "list_notes";
    const TITLE: &'static str = "List notes";
    const DESCRIPTION: &'static str = "Returns the user's notes, the newest first.";
    const SCOPES: &'static [&'static str] = &["notes:read"];
    const HINTS: ToolHints = ToolHints::UNKNOWN.read_only().closed_world();
    type Input = Filter;
    type Output = Json<NoteList>;

    async fn call(&self, input: Filter, context: Context<'_>) -> Result<Json<NoteList>, ToolError> {
        let rows: Vec<(i64, String)> = sqlx::query_as(
            "SELECT id, text FROM notes WHERE owner = ? AND instr(text, ?) > 0 ORDER BY id DESC LIMIT 100",
        )
        .bind(context.principal.subject())
        .bind(input.containing.unwrap_or_default())
        .fetch_all(&self.0.0)
        .await
        .map_err(|error| ToolError::caused_by("the notes can't be read", error))?;
        Ok(Json(NoteList {
            notes: rows
                .into_iter()
                .map(|(id, text)| Note { id, text })
                .collect(),
        }))
    }
}
