//! The types of options, and how each reads its text.

use std::net::IpAddr;

/// Type of an option and what it accepts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// `true`, `1`, `on`, `yes` or `false`, `0`, `off`, `no`, in any case.
    Bool,
    /// A decimal number from the first to the last, both included.
    Int(i64, i64),
    /// Any text.
    Str,
    /// Text that is never shown.
    Secret,
    /// Items split at commas and trimmed.
    List,
    /// `[a, b]`; quotes round items are taken off.
    BracketList,
    /// `key:value,key:value`; the first colon splits.
    Dict,
    /// The key may be repeated; all values count.
    Multi,
    /// A port number.
    Port,
    /// An IP address or a host name.
    Host,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// `N`, `NB`, `NKB`, `NMB`, `NGB` or `NTB`, in powers of 1024.
    ByteSize,
}

/// A value that was read.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Bool(bool),
    Int(i64),
    Text(String),
    List(Vec<String>),
    Pairs(Vec<(String, String)>),
}

impl Kind {
    /// The name of the type in the reference.
    pub fn name(&self) -> &'static str {
        match self {
            Kind::Bool => "bool",
            Kind::Int(..) => "int",
            Kind::Str => "str",
            Kind::Secret => "secret",
            Kind::List => "list",
            Kind::BracketList => "bracketed list",
            Kind::Dict => "dict",
            Kind::Multi => "multi",
            Kind::Port => "port",
            Kind::Host => "host",
            Kind::Choice(_) => "choice",
            Kind::ByteSize => "byte size",
        }
    }

    /// What the option accepts, for error messages and the reference.
    pub fn accepted(&self) -> String {
        match self {
            Kind::Bool => "true, 1, on, yes, false, 0, off or no".to_owned(),
            Kind::Int(i64::MIN, i64::MAX) => "a whole number".to_owned(),
            Kind::Int(min, i64::MAX) => format!("a whole number, at least {min}"),
            Kind::Int(min, max) => format!("a whole number from {min} to {max}"),
            Kind::Str | Kind::Secret | Kind::Multi => "any text".to_owned(),
            Kind::List => "items separated by commas".to_owned(),
            Kind::BracketList => "a list in brackets: [a, b]".to_owned(),
            Kind::Dict => "key:value pairs separated by commas, each key once".to_owned(),
            Kind::Port => "a port number from 0 to 65535".to_owned(),
            Kind::Host => "an IP address or a host name".to_owned(),
            Kind::Choice(words) => words.join(", "),
            Kind::ByteSize => "a number, alone or followed without a blank by B, KB, MB, GB or TB".to_owned(),
        }
    }

    /// Reads `text`. `None`: the value is empty, and an empty value of this type means that it is not set.
    /// `Err(())`: it is not what [`Kind::accepted`] says.
    pub(super) fn parse(&self, text: &str) -> Result<Option<Value>, ()> {
        let text = match self {
            Kind::Str | Kind::Secret | Kind::Multi => text,
            _ => text.trim(),
        };
        let value = match self {
            Kind::Str | Kind::Secret => Value::Text(text.to_owned()),
            Kind::Multi => Value::List(vec![text.to_owned()]),
            Kind::List => Value::List(parse_list(text)),
            Kind::BracketList => Value::List(parse_bracket_list(text)?),
            Kind::Dict => Value::Pairs(parse_dict(text)?),
            _ if text.is_empty() => return Ok(None),
            Kind::Bool => Value::Bool(parse_bool(text)?),
            Kind::Int(min, max) => Value::Int(parse_int(text, *min, *max)?),
            Kind::Port => Value::Int(parse_int(text, 0, i64::from(u16::MAX))?),
            Kind::Host => Value::Text(parse_host(text)?),
            Kind::Choice(words) => Value::Text(words.iter().find(|word| **word == text).ok_or(())?.to_string()),
            Kind::ByteSize => Value::Int(parse_byte_size(text)?),
        };
        Ok(Some(value))
    }
}

fn parse_bool(text: &str) -> Result<bool, ()> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "on" | "yes" => Ok(true),
        "false" | "0" | "off" | "no" => Ok(false),
        _ => Err(()),
    }
}

fn parse_int(text: &str, min: i64, max: i64) -> Result<i64, ()> {
    let number: i64 = text.parse().map_err(|_| ())?;
    if (min..=max).contains(&number) { Ok(number) } else { Err(()) }
}

fn parse_list(text: &str) -> Vec<String> {
    if text.is_empty() {
        return Vec::new();
    }
    text.split(',').map(|item| item.trim().to_owned()).collect()
}

fn parse_bracket_list(text: &str) -> Result<Vec<String>, ()> {
    let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).ok_or(())?;
    Ok(parse_list(inner.trim()).iter().map(|item| super::ini::unquote(item).to_owned()).collect())
}

fn parse_dict(text: &str) -> Result<Vec<(String, String)>, ()> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for pair in parse_list(text) {
        let (key, value) = pair.split_once(':').ok_or(())?;
        let (key, value) = (key.trim(), value.trim());
        if pairs.iter().any(|(known, _)| known == key) {
            return Err(());
        }
        pairs.push((key.to_owned(), value.to_owned()));
    }
    Ok(pairs)
}

fn parse_host(text: &str) -> Result<String, ()> {
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if text.parse::<IpAddr>().is_ok()
        || (text.chars().all(word) && !text.chars().all(|c| c.is_ascii_digit() || c == '.'))
    {
        return Ok(text.to_owned());
    }
    Err(())
}

fn parse_byte_size(text: &str) -> Result<i64, ()> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: i64 = number.parse().map_err(|_| ())?;
    let power = match unit {
        "" | "B" => 0,
        "KB" => 10,
        "MB" => 20,
        "GB" => 30,
        "TB" => 40,
        _ => return Err(()),
    };
    number.checked_mul(1 << power).ok_or(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans() {
        for text in ["true", "True", "1", "ON", "yes"] {
            assert_eq!(Kind::Bool.parse(text), Ok(Some(Value::Bool(true))), "{text}");
        }
        for text in ["false", "0", "off", "No"] {
            assert_eq!(Kind::Bool.parse(text), Ok(Some(Value::Bool(false))), "{text}");
        }
        assert_eq!(Kind::Bool.parse(""), Ok(None));
        for text in ["y", "t", "2", "true # c"] {
            assert_eq!(Kind::Bool.parse(text), Err(()), "{text}");
        }
    }

    #[test]
    fn numbers_hold_to_their_range() {
        let kind = Kind::Int(-1, 10);
        for (text, number) in [("-1", -1), ("10", 10), ("+5", 5), ("007", 7)] {
            assert_eq!(kind.parse(text), Ok(Some(Value::Int(number))), "{text}");
        }
        for text in ["-2", "11", "0x1", "5 # c", "1.0", "99999999999999999999"] {
            assert_eq!(kind.parse(text), Err(()), "{text}");
        }
        assert_eq!(kind.parse(""), Ok(None));
        assert_eq!(Kind::Port.parse("65536"), Err(()));
        assert_eq!(Kind::Port.parse("65535"), Ok(Some(Value::Int(65535))));
    }

    #[test]
    fn lists_keep_empty_items_and_take_no_quotes_or_brackets() {
        let list = |items: &[&str]| Ok(Some(Value::List(items.iter().map(|i| (*i).to_owned()).collect())));
        assert_eq!(Kind::List.parse("a, b ,c"), list(&["a", "b", "c"]));
        assert_eq!(Kind::List.parse("a,,b"), list(&["a", "", "b"]));
        assert_eq!(Kind::List.parse(""), list(&[]));
        assert_eq!(Kind::List.parse("[a,b]"), list(&["[a", "b]"]));
        assert_eq!(Kind::BracketList.parse("[a, 'b',\"c\"]"), list(&["a", "b", "c"]));
        assert_eq!(Kind::BracketList.parse("[ ]"), list(&[]));
        for text in ["a,b", "[a", "a]", ""] {
            assert_eq!(Kind::BracketList.parse(text), Err(()), "{text}");
        }
    }

    #[test]
    fn dictionaries_refuse_repetition_and_missing_colons() {
        let pairs = |items: &[(&str, &str)]| {
            Ok(Some(Value::Pairs(items.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())))
        };
        assert_eq!(Kind::Dict.parse("a:file, b:http:80,c:"), pairs(&[("a", "file"), ("b", "http:80"), ("c", "")]));
        assert_eq!(Kind::Dict.parse(""), pairs(&[]));
        for text in ["a:b,", "a", "a:b,a:c"] {
            assert_eq!(Kind::Dict.parse(text), Err(()), "{text}");
        }
    }

    #[test]
    fn sizes_choices_and_hosts() {
        for (text, bytes) in
            [("0", 0), ("5", 5), ("5B", 5), ("2KB", 2048), ("1MB", 1 << 20), ("3GB", 3 << 30), ("1TB", 1 << 40)]
        {
            assert_eq!(Kind::ByteSize.parse(text), Ok(Some(Value::Int(bytes))), "{text}");
        }
        for text in ["5 KB", "5kb", "KB", "-1", "9999999TB"] {
            assert_eq!(Kind::ByteSize.parse(text), Err(()), "{text}");
        }
        assert_eq!(Kind::Choice(&["a", "b"]).parse("b"), Ok(Some(Value::Text("b".into()))));
        assert_eq!(Kind::Choice(&["a", "b"]).parse("c"), Err(()));
        for text in ["10.0.0.1", "::", "fe80::1", "host-1.example.org"] {
            assert!(Kind::Host.parse(text).is_ok(), "{text}");
        }
        for text in ["10.0.0.256", "a b", "a:80", "http://a"] {
            assert_eq!(Kind::Host.parse(text), Err(()), "{text}");
        }
    }
}
