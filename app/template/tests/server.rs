//! The server, as its clients see it.

use fastmcp_auth0::testing::TestServer;
use serde_json::json;

async fn start() -> anyhow::Result<TestServer> {
    // One connection: each one to `:memory:` would have a database of its own.
    TestServer::start_with({{crate}}::server(), |sources| {
        sources
            .set("test", "notes.url", "sqlite::memory:")
            .set("test", "notes.max_connections", 1)
    })
    .await
}

#[tokio::test]
async fn every_caller_may_count_words() -> anyhow::Result<()> {
    let server = start().await?;
    let answer = server
        .call(
            &server.token(""),
            "word_count",
            json!({"text": "one two  three"}),
        )
        .await?;
    assert_eq!(answer.structured_content(), json!({"words": 3}));
    Ok(())
}

#[tokio::test]
async fn notes_are_their_owners_alone() -> anyhow::Result<()> {
    let server = start().await?;
    let ada = server.token("notes:read notes:write");
    let uma = server.token_with("notes:read", |claims| claims.subject = "auth0|uma".into());
    let saved = server
        .call(&ada, "save_note", json!({"text": "buy milk"}))
        .await?;
    assert_eq!(
        saved.structured_content(),
        json!({"id": 1, "text": "buy milk"})
    );

    let listed = server
        .call(&ada, "list_notes", json!({"containing": "milk"}))
        .await?;
    assert_eq!(
        listed.structured_content(),
        json!({"notes": [{"id": 1, "text": "buy milk"}]})
    );
    let listed = server.call(&uma, "list_notes", json!({})).await?;
    assert_eq!(listed.structured_content(), json!({"notes": []}));
    Ok(())
}

#[tokio::test]
async fn whoever_lacks_the_scope_may_not_save() -> anyhow::Result<()> {
    let server = start().await?;
    let reader = server.token("notes:read");
    let refused = server
        .call(&reader, "save_note", json!({"text": "buy milk"}))
        .await?;
    assert_eq!(refused.status, 403);
    assert_eq!(server.tools(&reader).await?, ["word_count", "list_notes"]);
    let empty = server
        .call(
            &server.token("notes:write"),
            "save_note",
            json!({"text": " "}),
        )
        .await?;
    assert!(empty.is_error());
    Ok(())
}
