//! The suite's resources.

use std::sync::Arc;

use async_trait::async_trait;
use domain::{
    Outcome, ReadCall, ReadResourceResult, Resource, ResourceBody, ResourceContents, ResourceSpec,
    ResourceSpecError,
};
use serde_json::json;

use crate::tools::{PNG, text_resource};

/// Every resource.
pub(crate) fn all() -> Vec<Arc<dyn Resource>> {
    let text = "This is the content of the static text resource.";
    vec![
        Arc::new(Text("test://static-text", text)),
        Arc::new(Binary),
        Arc::new(Text("test://watched-resource", "Watched resource content")),
        Arc::new(Template),
    ]
}

struct Text(&'static str, &'static str);

#[async_trait]
impl Resource for Text {
    fn spec(&self) -> Result<ResourceSpec, ResourceSpecError> {
        Ok(ResourceSpec::at(self.0, self.0, "Text", "A text.").of_type("text/plain"))
    }

    async fn read(&self, call: ReadCall<'_>) -> ReadResourceResult {
        Ok(Outcome::Complete(vec![text_resource(call.uri, "text/plain", self.1)]))
    }
}

struct Binary;

#[async_trait]
impl Resource for Binary {
    fn spec(&self) -> Result<ResourceSpec, ResourceSpecError> {
        Ok(ResourceSpec::at("test://static-binary", "static-binary", "Binary", "A picture.")
            .of_type("image/png"))
    }

    async fn read(&self, call: ReadCall<'_>) -> ReadResourceResult {
        let (uri, mime_type) = (call.uri.to_owned(), Some("image/png".to_owned()));
        Ok(Outcome::Complete(vec![ResourceContents {
            uri,
            mime_type,
            body: ResourceBody::Blob(PNG.to_vec()),
        }]))
    }
}

struct Template;

#[async_trait]
impl Resource for Template {
    fn spec(&self) -> Result<ResourceSpec, ResourceSpecError> {
        let spec =
            ResourceSpec::template("test://template/{id}/data", "template", "Template", "Data by id.")?;
        Ok(spec.of_type("application/json"))
    }

    async fn read(&self, call: ReadCall<'_>) -> ReadResourceResult {
        let id = call.variables.get("id").cloned().unwrap_or_default();
        let data = json!({"id": id, "templateTest": true, "data": format!("Data for ID: {id}")});
        Ok(Outcome::Complete(vec![text_resource(call.uri, "application/json", &data.to_string())]))
    }
}
