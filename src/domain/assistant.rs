//! Assistants: where their model is reached, and what they are told and allowed.

use super::rejection::Rejection;
use super::run::Prices;
use std::fmt;
use std::sync::Arc;

/// The address under which an engine's API lies: what comes before `/chat/completions`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl(Arc<str>);

impl BaseUrl {
    /// Bytes, more than any address needs.
    pub const MAX_BYTES: usize = 2048;

    /// Checks the text: `http` or `https`, a host, no user, query or fragment, for they might carry secrets; errors name `base_url`.
    pub fn parse(text: &str) -> Result<Self, Rejection> {
        let text = text.trim().trim_end_matches('/');
        let wrong = |problem| Err(Rejection::invalid("base_url", problem));
        if text.len() > Self::MAX_BYTES {
            return wrong("is longer than 2048 bytes");
        }
        let lower = text.to_ascii_lowercase();
        let rest = ["http://", "https://"].iter().find_map(|scheme| lower.strip_prefix(scheme));
        let Some(rest) = rest else { return wrong("has to begin with http:// or https://") };
        let host = rest.split('/').next().unwrap_or_default();
        if host.is_empty() || host.starts_with(':') {
            return wrong("has no host");
        }
        if text.contains(['@', '?', '#', '\\']) {
            return wrong("has a user, a query or a fragment: a key belongs into api_key");
        }
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return wrong("contains a space or a control character");
        }
        Ok(Self(text.into()))
    }

    /// The text, without a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whom it leads to: scheme, host and port, in lower case and with the port that goes without saying.
    pub fn origin(&self) -> String {
        let lower = self.0.to_ascii_lowercase();
        let (scheme, rest) = lower.split_once("://").unwrap_or_default();
        let authority = rest.split('/').next().unwrap_or_default();
        // An IPv6 address has colons of its own, within brackets.
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port),
            _ => (authority, ""),
        };
        let usual = if scheme == "https" { "443" } else { "80" };
        let port = match port.trim_start_matches('0') {
            "" => usual,
            port => port,
        };
        format!("{scheme}://{host}:{port}")
    }
}

/// The key to an engine. It shows itself as `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(Arc<str>);

impl ApiKey {
    /// Checks the text: printable ASCII, at most 1,000 bytes, for it travels in a header; errors name `api_key`.
    pub fn parse(text: &str) -> Result<Self, Rejection> {
        let text = text.trim();
        if text.is_empty() || text.len() > 1000 {
            return Err(Rejection::invalid("api_key", "is not of 1 to 1000 bytes"));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Rejection::invalid("api_key", "is not printable ASCII"));
        }
        Ok(Self(text.into()))
    }

    /// The key, for the store and the one place that shows it to the engine.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Everything about an assistant but its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssistantTerms {
    pub base_url: BaseUrl,
    /// Engines at home need none.
    pub api_key: Option<ApiKey>,
    pub model: Arc<str>,
    /// What its admin tells it, before all else.
    pub instructions: Arc<str>,
    /// Tokens that prompt and answer have together.
    pub context_tokens: i64,
    /// Tokens of an answer.
    pub output_tokens: i64,
    pub prices: Prices,
    /// In thousandths; none is the engine's own.
    pub temperature_milli: Option<i64>,
    /// Kinds of action requests it may make.
    pub tools: Vec<Arc<str>>,
    /// Whether it sums up long rooms by itself.
    pub summarises: bool,
    pub enabled: bool,
}

impl AssistantTerms {
    /// Tokens of prompt and answer, unless said otherwise.
    pub const CONTEXT_TOKENS: i64 = 8192;
    /// Tokens of an answer, unless said otherwise.
    pub const OUTPUT_TOKENS: i64 = 1024;
    /// Micro-dollars per million tokens; more than any model costs.
    pub const MAX_PRICE: i64 = 10_000_000_000;
    /// Characters of the instructions.
    pub const MAX_INSTRUCTIONS: usize = 8000;
    /// What assistants may ask people's clients to do.
    pub const TOOLS: [&'static str; 2] = ["dice.roll", "choose"];

    /// The terms of a model at an address, with everything else as usual.
    pub fn new(base_url: BaseUrl, model: &str) -> Result<Self, Rejection> {
        Ok(Self {
            base_url,
            api_key: None,
            model: Self::model(model)?,
            instructions: "".into(),
            context_tokens: Self::CONTEXT_TOKENS,
            output_tokens: Self::OUTPUT_TOKENS,
            prices: Prices::default(),
            temperature_milli: None,
            tools: Vec::new(),
            summarises: false,
            enabled: true,
        })
    }

    /// A model's name: 1 to 200 characters, none of them a control character.
    pub fn model(text: &str) -> Result<Arc<str>, Rejection> {
        let text = text.trim();
        if text.is_empty() || text.chars().count() > 200 || text.chars().any(char::is_control) {
            return Err(Rejection::invalid("model", "is not of 1 to 200 characters"));
        }
        Ok(text.into())
    }

    /// Checks what hangs together; errors name the field.
    pub fn check(&self) -> Result<(), Rejection> {
        let wrong = |field: &'static str, problem: &str| Err(Rejection::invalid(field, problem));
        if self.instructions.chars().count() > Self::MAX_INSTRUCTIONS {
            return wrong("instructions", "are longer than 8000 characters");
        }
        if self.instructions.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
            return wrong("instructions", "contain a control character");
        }
        if !(256..=10_000_000).contains(&self.context_tokens) {
            return wrong("context_tokens", "is not between 256 and 10000000");
        }
        if self.output_tokens < 1 || self.output_tokens >= self.context_tokens {
            return wrong("output_tokens", "is not between 1 and context_tokens");
        }
        if !(0..=Self::MAX_PRICE).contains(&self.prices.prompt) {
            return wrong("prompt_price", "is not between 0 and 10000000000");
        }
        if !(0..=Self::MAX_PRICE).contains(&self.prices.completion) {
            return wrong("completion_price", "is not between 0 and 10000000000");
        }
        if self.temperature_milli.is_some_and(|heat| !(0..=2000).contains(&heat)) {
            return wrong("temperature", "is not between 0 and 2");
        }
        if self.tools.iter().any(|tool| !Self::TOOLS.contains(&&**tool)) {
            return wrong("tools", "may be dice.roll and choose");
        }
        Ok(())
    }
}

/// What is to be different about an assistant; none is as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AssistantChange {
    pub base_url: Option<BaseUrl>,
    /// `Some(None)` takes the key away.
    pub api_key: Option<Option<ApiKey>>,
    pub model: Option<Arc<str>>,
    pub instructions: Option<Arc<str>>,
    pub context_tokens: Option<i64>,
    pub output_tokens: Option<i64>,
    pub prompt_price: Option<i64>,
    pub completion_price: Option<i64>,
    /// `Some(None)` is the engine's own.
    pub temperature_milli: Option<Option<i64>>,
    pub tools: Option<Vec<Arc<str>>>,
    pub summarises: Option<bool>,
    pub enabled: Option<bool>,
}

impl AssistantTerms {
    /// Takes over what is to be different; the fields that then are, by their names on the wire. What hangs together is for
    /// [`AssistantTerms::check`]. A key is for whom it was given: somebody else at another address isn't shown it, unless it is
    /// given again.
    pub fn take(&mut self, change: AssistantChange) -> Result<Vec<&'static str>, Rejection> {
        fn put<T: PartialEq>(
            changed: &mut Vec<&'static str>,
            name: &'static str,
            field: &mut T,
            to: Option<T>,
        ) {
            if let Some(to) = to.filter(|to| to != field) {
                *field = to;
                changed.push(name);
            }
        }
        let leads_elsewhere =
            change.base_url.as_ref().is_some_and(|to| to.origin() != self.base_url.origin());
        if leads_elsewhere && self.api_key.is_some() && change.api_key.is_none() {
            return Err(Rejection::invalid("api_key", "has to be given again, or null, for another address"));
        }
        let mut changed = Vec::new();
        let to = &mut changed;
        put(to, "base_url", &mut self.base_url, change.base_url);
        put(to, "api_key", &mut self.api_key, change.api_key);
        put(to, "model", &mut self.model, change.model);
        put(to, "instructions", &mut self.instructions, change.instructions);
        put(to, "context_tokens", &mut self.context_tokens, change.context_tokens);
        put(to, "output_tokens", &mut self.output_tokens, change.output_tokens);
        put(to, "prompt_price", &mut self.prices.prompt, change.prompt_price);
        put(to, "completion_price", &mut self.prices.completion, change.completion_price);
        put(to, "temperature", &mut self.temperature_milli, change.temperature_milli);
        put(to, "tools", &mut self.tools, change.tools);
        put(to, "summarises", &mut self.summarises, change.summarises);
        put(to, "enabled", &mut self.enabled, change.enabled);
        Ok(changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_carries_no_secret() {
        let url = BaseUrl::parse(" http://127.0.0.1:11434/v1/ ").expect("fine");
        assert_eq!(url.as_str(), "http://127.0.0.1:11434/v1");
        for wrong in [
            "",
            "ftp://a",
            "http://",
            "http://:80",
            "https://a:b@c/v1",
            "http://a?key=1",
            "http://a#b",
            "http://a b",
        ] {
            assert_eq!(BaseUrl::parse(wrong).expect_err(wrong).field.as_deref(), Some("base_url"));
        }
        assert_eq!(format!("{:?}", ApiKey::parse("sk-secret").expect("fine")), "***");
        assert!(ApiKey::parse("a\nb").is_err() && ApiKey::parse(" ").is_err());
    }

    #[test]
    fn a_change_names_what_is_different() {
        let url = BaseUrl::parse("http://a").expect("fine");
        let mut terms = AssistantTerms::new(url.clone(), "m").expect("fine");
        let before = terms.clone();
        let same = AssistantChange {
            base_url: Some(url),
            api_key: Some(None),
            enabled: Some(true),
            ..AssistantChange::default()
        };
        assert_eq!((terms.take(same), &terms), (Ok(Vec::new()), &before));
        let key = ApiKey::parse("sk-secret").expect("fine");
        let change = AssistantChange {
            api_key: Some(Some(key.clone())),
            completion_price: Some(7),
            temperature_milli: Some(Some(0)),
            ..AssistantChange::default()
        };
        assert_eq!(terms.take(change), Ok(vec!["api_key", "completion_price", "temperature"]));
        assert_eq!(terms.api_key, Some(key));
        assert_eq!((terms.prices.completion, terms.temperature_milli), (7, Some(0)));
    }

    #[test]
    fn whom_an_address_leads_to_has_one_name() {
        for (url, origin) in [
            ("http://a", "http://a:80"),
            ("HTTP://A:/v1", "http://a:80"),
            ("http://a:0080/v1", "http://a:80"),
            ("https://a.example/v1/x", "https://a.example:443"),
            ("https://a:80", "https://a:80"),
            ("http://[::1]/v1", "http://[::1]:80"),
            ("http://[::1]:11434/v1", "http://[::1]:11434"),
        ] {
            assert_eq!(BaseUrl::parse(url).expect(url).origin(), origin);
        }
    }

    #[test]
    fn a_key_does_not_follow_to_another_address() {
        let parse = |url| BaseUrl::parse(url).expect("fine");
        let key = ApiKey::parse("sk-secret").expect("fine");
        let mut known = AssistantTerms::new(parse("https://a/v1"), "m").expect("fine");
        known.api_key = Some(key.clone());
        let moved = |url, api_key| {
            let mut terms = known.clone();
            let change =
                AssistantChange { base_url: Some(parse(url)), api_key, ..AssistantChange::default() };
            (terms.take(change), terms.api_key)
        };
        for elsewhere in ["http://a/v1", "https://b/v1", "https://a:444/v1", "https://a.b/v1"] {
            let (taken, kept) = moved(elsewhere, None);
            assert_eq!(taken.expect_err(elsewhere).field.as_deref(), Some("api_key"));
            assert_eq!(kept, Some(key.clone()), "nothing is changed");
            assert_eq!(moved(elsewhere, Some(None)), (Ok(vec!["base_url", "api_key"]), None));
            // The same key is given again: whoever does so has it.
            assert_eq!(moved(elsewhere, Some(Some(key.clone()))).0, Ok(vec!["base_url"]));
        }
        for same in ["https://A:443/v2", "https://a"] {
            assert_eq!(moved(same, None), (Ok(vec!["base_url"]), Some(key.clone())));
        }
        known.api_key = None;
        let mut open = known.clone();
        let change = AssistantChange { base_url: Some(parse("https://b")), ..AssistantChange::default() };
        assert_eq!(open.take(change), Ok(vec!["base_url"]), "there is no key to keep");
    }

    #[test]
    fn terms_are_checked_by_field() {
        let terms = AssistantTerms::new(BaseUrl::parse("http://a").expect("fine"), "m").expect("fine");
        assert_eq!(terms.check(), Ok(()));
        let field =
            |terms: AssistantTerms| terms.check().expect_err("wrong").field.expect("a field").into_owned();
        assert_eq!(field(AssistantTerms { output_tokens: 8192, ..terms.clone() }), "output_tokens");
        assert_eq!(field(AssistantTerms { context_tokens: 0, ..terms.clone() }), "context_tokens");
        assert_eq!(field(AssistantTerms { tools: vec!["rm".into()], ..terms.clone() }), "tools");
        assert_eq!(field(AssistantTerms { temperature_milli: Some(2001), ..terms }), "temperature");
    }
}
