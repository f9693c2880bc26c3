//! Icons that clients may show beside what is on offer (MCP 2026-07-28, basic/index, "icons").

/// One icon. Clients fetch it themselves, without credentials, and may refuse one from another origin than the server's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Icon {
    /// An `https:` URL or a `data:` URI with base64 of an image. Anything else stops the start.
    pub src: String,
    /// Such as `image/png`, where the source does not say it, or says it too generally.
    pub mime_type: Option<String>,
    /// Such as `48x48`, or `any` for one that scales; empty: any size will do.
    pub sizes: Vec<String>,
    /// The background that it is made for; `None` for any.
    pub theme: Option<IconTheme>,
}

/// A background.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IconTheme {
    /// Light.
    Light,
    /// Dark.
    Dark,
}

impl Icon {
    /// An icon for any size and background.
    #[must_use]
    pub fn new(src: &str) -> Self {
        Self { src: src.to_owned(), mime_type: None, sizes: Vec::new(), theme: None }
    }

    /// Says what it is, such as `image/png`.
    #[must_use]
    pub fn of_type(mut self, mime_type: &str) -> Self {
        self.mime_type = Some(mime_type.to_owned());
        self
    }

    /// Adds a size, such as `48x48`, or `any`.
    #[must_use]
    pub fn sized(mut self, size: &str) -> Self {
        self.sizes.push(size.to_owned());
        self
    }

    /// Says which background it is made for.
    #[must_use]
    pub fn on(mut self, theme: IconTheme) -> Self {
        self.theme = Some(theme);
        self
    }

    /// Whether clients may fetch it: they must refuse every scheme but `https` and `data`.
    #[must_use]
    pub fn is_acceptable(&self) -> bool {
        let is = |prefix: &str| {
            self.src.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
                && self.src.len() > prefix.len()
                && self.src.bytes().all(|byte| byte.is_ascii_graphic())
        };
        is("https://") || is("data:image/")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn icons_are_fetched_by_https_or_come_along() {
        for good in ["https://example.com/icon.png", "data:image/png;base64,AAAA", "HTTPS://example.com/i"] {
            assert!(Icon::new(good).is_acceptable(), "{good}");
        }
        for bad in [
            "",
            "https://",
            "http://example.com/icon.png",
            "javascript:alert(1)",
            "file:///etc/passwd",
            "data:text/html,<script>",
            "https://example.com/a b",
            "icon.png",
        ] {
            assert!(!Icon::new(bad).is_acceptable(), "{bad}");
        }
    }
}
