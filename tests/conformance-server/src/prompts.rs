//! The suite's prompts.

use std::sync::Arc;

use async_trait::async_trait;
use domain::{
    Content, ElicitResult, GetPromptResult, InputRequest, InputRequired, Message, Outcome, Prompt,
    PromptCall, PromptSpec, Role,
};
use serde_json::json;

use crate::tools::{png, text_resource};

/// Every prompt.
pub(crate) fn all() -> Vec<Arc<dyn Prompt>> {
    vec![
        Arc::new(Fixture { name: "test_simple_prompt", arguments: &[], render: simple }),
        Arc::new(Fixture {
            name: "test_prompt_with_arguments",
            arguments: &["arg1", "arg2"],
            render: arguments,
        }),
        Arc::new(Fixture {
            name: "test_prompt_with_embedded_resource",
            arguments: &["resourceUri"],
            render: embedded,
        }),
        Arc::new(Fixture { name: "test_prompt_with_image", arguments: &[], render: image }),
        Arc::new(Fixture { name: "test_input_required_result_prompt", arguments: &[], render: asking }),
    ]
}

struct Fixture {
    name: &'static str,
    arguments: &'static [&'static str],
    render: fn(&PromptCall<'_>) -> Outcome<Vec<Message>>,
}

#[async_trait]
impl Prompt for Fixture {
    fn spec(&self) -> Result<PromptSpec, domain::InvalidScope> {
        let spec = PromptSpec::new(self.name, self.name, "A fixture of the conformance suite.");
        Ok(self.arguments.iter().fold(spec, |spec, name| spec.takes(name, "An argument of the fixture.")))
    }

    async fn get(&self, call: PromptCall<'_>) -> GetPromptResult {
        Ok((self.render)(&call))
    }
}

fn user(content: impl Into<Content>) -> Message {
    Message { role: Role::User, content: content.into() }
}

fn argument<'a>(call: &'a PromptCall<'_>, name: &str) -> &'a str {
    call.arguments.get(name).map_or("", String::as_str)
}

fn simple(_call: &PromptCall<'_>) -> Outcome<Vec<Message>> {
    Outcome::Complete(vec![user("This is a simple prompt for testing.")])
}

fn arguments(call: &PromptCall<'_>) -> Outcome<Vec<Message>> {
    let (one, two) = (argument(call, "arg1"), argument(call, "arg2"));
    Outcome::Complete(vec![user(format!("Prompt with arguments: arg1='{one}', arg2='{two}'"))])
}

fn embedded(call: &PromptCall<'_>) -> Outcome<Vec<Message>> {
    let text = "Embedded resource content for testing.";
    let resource = text_resource(argument(call, "resourceUri"), "text/plain", text);
    Outcome::Complete(vec![
        user(Content::Resource(resource)),
        user("Please process the embedded resource above."),
    ])
}

fn image(_call: &PromptCall<'_>) -> Outcome<Vec<Message>> {
    Outcome::Complete(vec![user(png()), user("Please analyze the image above.")])
}

fn asking(call: &PromptCall<'_>) -> Outcome<Vec<Message>> {
    if let Some(ElicitResult::Accept(content)) = call.context.input_responses.elicit_result("user_context")
        && let Some(context) = content.get("context").and_then(serde_json::Value::as_str)
    {
        return Outcome::Complete(vec![user(format!("The context is: {context}"))]);
    }
    let schema =
        json!({"type": "object", "properties": {"context": {"type": "string"}}, "required": ["context"]});
    let question = InputRequest::Elicit { message: "What is the context?".into(), schema };
    Outcome::InputRequired(InputRequired::new("user_context", question))
}
