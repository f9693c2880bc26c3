//! A tool whose spec is made once. It takes a validator of the tool's arguments, which is most of what a catalog costs, and catalogs
//! are built twice at the start and at every reload.

use std::future::Future;
use std::pin::Pin;
use std::sync::OnceLock;

use domain::{DynTool, SpecError, ToolCall, ToolResult, ToolSpec};

/// A tool with its spec, once that was asked for.
pub(crate) struct SpecifiedTool<T> {
    tool: T,
    spec: OnceLock<Result<ToolSpec, SpecError>>,
}

impl<T> SpecifiedTool<T> {
    pub(crate) const fn new(tool: T) -> Self {
        Self { tool, spec: OnceLock::new() }
    }
}

impl<T: DynTool> DynTool for SpecifiedTool<T> {
    fn spec(&self) -> Result<ToolSpec, SpecError> {
        self.spec.get_or_init(|| self.tool.spec()).clone()
    }

    /// Returns the tool's own future, and not one around it.
    fn run<'tool, 'call, 'run>(
        &'tool self,
        call: ToolCall<'call>,
    ) -> Pin<Box<dyn Future<Output = ToolResult> + Send + 'run>>
    where
        'tool: 'run,
        'call: 'run,
        Self: 'run,
    {
        self.tool.run(call)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use domain::async_trait;
    use serde_json::json;

    use super::*;

    #[derive(Default)]
    struct Counted(AtomicUsize);

    #[async_trait]
    impl DynTool for Counted {
        fn spec(&self) -> Result<ToolSpec, SpecError> {
            self.0.fetch_add(1, Ordering::Relaxed);
            ToolSpec::with_schema("counted", "Counted", "Counts.", json!({"type": "object"}))
        }

        async fn run(&self, _: ToolCall<'_>) -> ToolResult {
            unreachable!("nobody calls it")
        }
    }

    #[test]
    fn a_spec_is_made_once() {
        let tool = SpecifiedTool::new(Counted::default());
        let names: Vec<String> = (0..3).map(|_| tool.spec().unwrap().name.to_string()).collect();
        assert_eq!(names, ["counted"; 3]);
        assert_eq!(tool.tool.0.load(Ordering::Relaxed), 1);
    }
}
