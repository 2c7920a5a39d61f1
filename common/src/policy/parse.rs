//! The rule language of oslo.policy.
//!
//! ```text
//! rule  = empty | or
//! or    = and { "or" and }
//! and   = not { "and" not }
//! not   = "not" not | "(" or ")" | check
//! check = "@" | "!" | kind ":" match
//! ```
//! Tokens are split at white space; parentheses may touch a token's ends. Operators are words of any case.

use std::fmt;

use super::credentials::Key;
use super::rule::{Check, Left, Part, Template};

/// How deep parentheses and `not` may nest: a bound for the stack, far above any real rule.
const NESTING_MAX: usize = 64;

/// Why a text is not a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ParseError {
    /// Character of the text where it stops to make sense, from 1.
    pub(super) column: usize,
    /// What is wrong there.
    pub(super) reason: String,
    /// The text is a rule, but uses what is not there yet.
    pub(super) is_unsupported: bool,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at character {}: {}", self.column, self.reason)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'t> {
    Open,
    Close,
    And,
    Or,
    Not,
    Check(&'t str),
}

/// Reads a rule. The empty text allows.
pub(super) fn parse(text: &str) -> Result<Check, ParseError> {
    if text.is_empty() {
        return Ok(Check::Allow);
    }
    let tokens = tokenize(text);
    let end = text.chars().count().saturating_add(1);
    let mut parser = Parser { tokens: &tokens, next: 0, end, depth: 0 };
    let check = parser.or()?;
    match parser.peek() {
        None => Ok(check),
        Some(Token::Close) => Err(parser.error("a ) without its (")),
        Some(_) => Err(parser.error("expected `and` or `or`")),
    }
}

/// Reads the old form: of the outer list one must hold, of an inner list all. Positions count in each text alone.
pub(super) fn parse_lists(any: &[Vec<String>]) -> Result<Check, ParseError> {
    if any.is_empty() {
        return Ok(Check::Allow);
    }
    let mut alternatives = Vec::new();
    for all in any.iter().filter(|all| !all.is_empty()) {
        let checks = all.iter().map(|text| parse_check(text, 1)).collect::<Result<Vec<_>, _>>()?;
        alternatives.push(joined(checks, Check::And));
    }
    Ok(joined(alternatives, Check::Or))
}

/// One check as it stands, several under `join`.
fn joined(mut checks: Vec<Check>, join: fn(Vec<Check>) -> Check) -> Check {
    match (checks.len(), checks.pop()) {
        (1, Some(check)) => check,
        (0, _) | (_, None) => Check::Deny,
        (_, Some(last)) => {
            checks.push(last);
            join(checks)
        }
    }
}

fn tokenize(text: &str) -> Vec<(usize, Token<'_>)> {
    let mut tokens = Vec::new();
    let mut column = 1;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if first.is_whitespace() {
            column += 1;
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let word = &rest[..rest.find(char::is_whitespace).unwrap_or(rest.len())];
        let inner = word.trim_start_matches('(');
        let core = inner.trim_end_matches(')');
        let opening = word.len() - inner.len();
        tokens.extend((0..opening).map(|offset| (column + offset, Token::Open)));
        let start = column + opening;
        match core.to_ascii_lowercase().as_str() {
            "" => {}
            "and" => tokens.push((start, Token::And)),
            "or" => tokens.push((start, Token::Or)),
            "not" => tokens.push((start, Token::Not)),
            _ => tokens.push((start, Token::Check(core))),
        }
        let closing = start + core.chars().count();
        tokens.extend((0..inner.len() - core.len()).map(|offset| (closing + offset, Token::Close)));
        column += word.chars().count();
        rest = &rest[word.len()..];
    }
    tokens
}

struct Parser<'t> {
    tokens: &'t [(usize, Token<'t>)],
    next: usize,
    end: usize,
    depth: usize,
}

impl<'t> Parser<'t> {
    fn peek(&self) -> Option<Token<'t>> {
        self.tokens.get(self.next).map(|(_, token)| *token)
    }

    fn take(&mut self, token: Token<'_>) -> bool {
        let found = self.peek() == Some(token);
        if found {
            self.next += 1;
        }
        found
    }

    fn column(&self) -> usize {
        self.tokens.get(self.next).map_or(self.end, |(column, _)| *column)
    }

    fn error(&self, reason: &str) -> ParseError {
        ParseError { column: self.column(), reason: reason.to_owned(), is_unsupported: false }
    }

    fn or(&mut self) -> Result<Check, ParseError> {
        let mut parts = vec![self.and()?];
        while self.take(Token::Or) {
            parts.push(self.and()?);
        }
        Ok(joined(parts, Check::Or))
    }

    fn and(&mut self) -> Result<Check, ParseError> {
        let mut parts = vec![self.not()?];
        while self.take(Token::And) {
            parts.push(self.not()?);
        }
        Ok(joined(parts, Check::And))
    }

    fn not(&mut self) -> Result<Check, ParseError> {
        if self.depth >= NESTING_MAX {
            return Err(self.error("nested too deeply"));
        }
        self.depth += 1;
        let check = self.single();
        self.depth -= 1;
        check
    }

    fn single(&mut self) -> Result<Check, ParseError> {
        if self.take(Token::Not) {
            return Ok(Check::Not(Box::new(self.not()?)));
        }
        if self.take(Token::Open) {
            let inner = self.or()?;
            return if self.take(Token::Close) { Ok(inner) } else { Err(self.error("expected )")) };
        }
        match self.peek() {
            Some(Token::Check(text)) => {
                let check = parse_check(text, self.column())?;
                self.next += 1;
                Ok(check)
            }
            _ => Err(self.error("expected a check such as role:admin")),
        }
    }
}

fn parse_check(text: &str, column: usize) -> Result<Check, ParseError> {
    let fail = |reason: String| ParseError { column, reason, is_unsupported: false };
    match text {
        "@" => return Ok(Check::Allow),
        "!" => return Ok(Check::Deny),
        _ => {}
    }
    let quoted = |quote| text.len() >= 2 && text.starts_with(quote) && text.ends_with(quote);
    if quoted('"') || quoted('\'') {
        return Err(fail(format!("{text} alone is not a check")));
    }
    let Some((kind, right)) = text.split_once(':') else {
        return Err(fail(format!("{text} is not a check: it has no colon")));
    };
    let template =
        || parse_template(right).ok_or_else(|| fail(format!("in {text}: only %(key)s and %% may follow a %")));
    Ok(match kind {
        "rule" => Check::Rule { name: right.to_owned(), index: None },
        "role" => Check::Role(template()?),
        "http" | "https" => {
            let reason = "rules that ask a server are not there yet".to_owned();
            return Err(ParseError { column, reason, is_unsupported: true });
        }
        _ => Check::Same(left(kind), template()?),
    })
}

/// A text in quotes, a number, `True`, `False` and `None` stand for themselves; anything else names a part of the
/// caller.
fn left(kind: &str) -> Left {
    for quote in ['\'', '"'] {
        if let Some(text) = kind.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
            return Left::Literal(text.to_owned());
        }
    }
    if matches!(kind, "True" | "False" | "None") || kind.parse::<i64>().is_ok_and(|number| number.to_string() == kind) {
        return Left::Literal(kind.to_owned());
    }
    Key::from_name(kind).map_or(Left::Unknown, Left::Caller)
}

fn parse_template(text: &str) -> Option<Template> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        literal.push_str(before);
        if let Some(after) = after.strip_prefix('%') {
            literal.push('%');
            rest = after;
            continue;
        }
        let (key, after) = after.strip_prefix('(')?.split_once(")s")?;
        if !literal.is_empty() {
            parts.push(Part::Text(std::mem::take(&mut literal)));
        }
        parts.push(Part::Key(key.to_owned()));
        rest = after;
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        parts.push(Part::Text(literal));
    }
    Some(Template(parts))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The tree, with every grouping shown.
    fn show(check: &Check) -> String {
        let list = |word: &str, parts: &[Check]| format!("({})", parts.iter().map(show).collect::<Vec<_>>().join(word));
        let template = |template: &Template| {
            template
                .0
                .iter()
                .map(|part| match part {
                    Part::Text(text) => text.clone(),
                    Part::Key(key) => format!("<{key}>"),
                })
                .collect::<String>()
        };
        match check {
            Check::Allow => "@".into(),
            Check::Deny => "!".into(),
            Check::Not(inner) => format!("not {}", show(inner)),
            Check::And(parts) => list(" and ", parts),
            Check::Or(parts) => list(" or ", parts),
            Check::Rule { name, .. } => format!("rule {name}"),
            Check::Role(name) => format!("role {}", template(name)),
            Check::Same(left, right) => format!("{left:?} = {}", template(right)),
        }
    }

    #[test]
    fn rules_are_grouped_as_oslo_policy_groups_them() {
        for (text, expected) in [
            ("", "@"),
            ("@", "@"),
            ("!", "!"),
            ("role:admin", "role admin"),
            ("role:%(x)s-%(y)s", "role <x>-<y>"),
            ("rule:a:b", "rule a:b"),
            ("@ or ! and @", "(@ or (! and @))"),
            ("@ and ! or @ and !", "((@ and !) or (@ and !))"),
            ("@ or ! or @", "(@ or ! or @)"),
            ("(@ or !) and @", "((@ or !) and @)"),
            ("not @ and !", "(not @ and !)"),
            ("NOT (@ And !)", "not (@ and !)"),
            ("not not @", "not not @"),
            ("@ or not ! and @", "(@ or (not ! and @))"),
            ("((@))", "@"),
            ("( @ )", "@"),
            ("  @\n\tor !  ", "(@ or !)"),
            ("project_id:%(owner)s", "Caller(ProjectId) = <owner>"),
            ("'shared':%(visibility)s", "Literal(\"shared\") = <visibility>"),
            ("\"x\":y", "Literal(\"x\") = y"),
            ("True:%(a)s", "Literal(\"True\") = <a>"),
            ("12:%(a)s", "Literal(\"12\") = <a>"),
            ("is_admin:True", "Caller(IsAdmin) = True"),
            ("nonsense:50%%", "Unknown = 50%"),
            ("roles:", "Caller(Roles) = "),
        ] {
            assert_eq!(parse(text).map(|check| show(&check)).as_deref(), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn what_is_not_a_rule_is_named_with_its_place() {
        for (text, column, reason) in [
            ("   ", 4, "expected a check"),
            ("role:a role:b", 8, "expected `and` or `or`"),
            ("role:a or", 10, "expected a check"),
            ("and role:a", 1, "expected a check"),
            ("(role:a", 8, "expected )"),
            ("role:a)", 7, "a ) without its ("),
            ("()", 2, "expected a check"),
            ("@ or foo", 6, "no colon"),
            ("é:x or 'foo'", 8, "alone is not a check"),
            ("role:%s", 1, "only %(key)s"),
            ("role:100%", 1, "only %(key)s"),
            ("http://x/y", 1, "not there yet"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.column == column && error.reason.contains(reason), "{text:?}: {error}");
        }
        let deep = "(".repeat(10_000) + "@" + &")".repeat(10_000);
        assert!(parse(&deep).unwrap_err().reason.contains("deep"));
        assert!(parse(&"not ".repeat(10_000)).is_err());
    }

    #[test]
    fn the_old_form_is_a_list_of_lists() {
        let lists = |any: &[&[&str]]| {
            let any: Vec<Vec<String>> = any.iter().map(|all| all.iter().map(|s| (*s).to_owned()).collect()).collect();
            parse_lists(&any).map(|check| show(&check)).map_err(|error| error.reason)
        };
        assert_eq!(lists(&[]).as_deref(), Ok("@"));
        assert_eq!(lists(&[&[]]).as_deref(), Ok("!"));
        assert_eq!(lists(&[&["@"], &[], &["!", "role:a"]]).as_deref(), Ok("(@ or (! and role a))"));
        assert!(lists(&[&["role:a or role:b"]]).is_ok());
        assert!(lists(&[&["x"]]).is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "[ ()a-z:%'\"@!sé]{0,60}") {
            let _ = parse(&text);
        }
    }
}
