//! Conversions of single values: units, ranges and lists, with a complaint that says what would be right.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use toml_edit::{Item, Value};

use super::report::{Complaint, closest};

/// A piece of text.
pub(crate) fn text(item: &Item) -> Result<String, Complaint> {
    item.as_str().map(str::to_owned).ok_or_else(|| wrong_type("text in quotes", item.type_name()))
}

/// `true` or `false`.
pub(crate) fn boolean(item: &Item) -> Result<bool, Complaint> {
    item.as_bool().ok_or_else(|| {
        let complaint = wrong_type("true or false", item.type_name());
        match item.as_str() {
            Some("true" | "false") => complaint.help("without quotes"),
            _ => complaint,
        }
    })
}

/// A whole number within `range`.
pub(crate) fn integer<T>(range: RangeInclusive<T>) -> impl FnOnce(&Item) -> Result<T, Complaint>
where
    T: TryFrom<i64> + PartialOrd + Display,
{
    move |item| {
        let value = item.as_integer().ok_or_else(|| wrong_type("a whole number", item.type_name()))?;
        T::try_from(value).ok().filter(|value| range.contains(value)).ok_or_else(|| {
            Complaint::new(format!("{value} is outside of {} to {}", range.start(), range.end()))
        })
    }
}

/// A length of time such as `"250ms"`, `"30s"`, `"5m"`, `"1h"`, within `range`.
pub(crate) fn duration(range: RangeInclusive<Duration>) -> impl FnOnce(&Item) -> Result<Duration, Complaint> {
    move |item| {
        let help = "write a number with its unit: \"250ms\", \"30s\", \"5m\", \"1h\"";
        let text =
            item.as_str().ok_or_else(|| wrong_type("a length of time", item.type_name()).help(help))?;
        let value = parse_duration(text)
            .ok_or_else(|| Complaint::new(format!("\"{text}\" is not a length of time")).help(help))?;
        if range.contains(&value) {
            return Ok(value);
        }
        let (low, high) = (show_duration(*range.start()), show_duration(*range.end()));
        Err(Complaint::new(format!("{text} is outside of {low} to {high}")))
    }
}

/// A number of bytes: a whole number, or text such as `"512KiB"`, `"20MiB"`, `"2GiB"`.
pub(crate) fn size(range: RangeInclusive<u64>) -> impl FnOnce(&Item) -> Result<u64, Complaint> {
    move |item| {
        let help = "write a number with its unit: \"512KiB\", \"20MiB\", \"2GiB\"";
        let value = match (item.as_integer(), item.as_str()) {
            (Some(bytes), _) => u64::try_from(bytes).ok(),
            (_, Some(text)) => parse_size(text),
            _ => return Err(wrong_type("a number of bytes", item.type_name()).help(help)),
        };
        let value = value.ok_or_else(|| Complaint::new("not a number of bytes").help(help))?;
        if range.contains(&value) {
            return Ok(value);
        }
        Err(Complaint::new(format!("{value} bytes is outside of {} to {}", range.start(), range.end())))
    }
}

/// One of a few words.
pub(crate) fn one_of<T: Copy + 'static>(
    choices: &'static [(&'static str, T)],
) -> impl Fn(&Item) -> Result<T, Complaint> {
    move |item| {
        let word = text(item)?;
        choices.iter().find(|(name, _)| *name == word).map(|(_, value)| *value).ok_or_else(|| {
            let names: Vec<_> = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
            let complaint = Complaint::new(format!("\"{word}\" is not one of {}", names.join(", ")));
            match closest(&word, choices.iter().map(|(name, _)| *name)) {
                Some(meant) => complaint.help(format!("did you mean \"{meant}\"?")),
                None => complaint,
            }
        })
    }
}

/// Text that `T` can be made from; `what` names it in the complaint.
pub(crate) fn parsed<T: FromStr>(
    what: &'static str,
    example: &'static str,
) -> impl Fn(&Item) -> Result<T, Complaint> {
    move |item| {
        let text = text(item)?;
        text.parse().map_err(|_| {
            Complaint::new(format!("\"{text}\" is not {what}")).help(format!("for example \"{example}\""))
        })
    }
}

/// A list, each element through `convert`; the first wrong element is the complaint.
pub(crate) fn list<T>(
    convert: impl Fn(&Item) -> Result<T, Complaint>,
) -> impl FnOnce(&Item) -> Result<Vec<T>, Complaint> {
    move |item| {
        let array = item.as_array().ok_or_else(|| {
            let complaint = wrong_type("a list", item.type_name());
            if item.is_str() { complaint.help("put it in brackets: [\"...\"]") } else { complaint }
        })?;
        array
            .iter()
            .map(|value: &Value| {
                convert(&Item::Value(value.clone())).map_err(|complaint| complaint.at(value.span()))
            })
            .collect()
    }
}

pub(crate) fn wrong_type(expected: &str, found: &str) -> Complaint {
    Complaint::new(format!("expected {expected}, found {found}"))
}

fn split_unit(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number = text[..end].parse().ok()?;
    Some((number, text[end..].trim()))
}

fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text)?;
    let seconds = match unit {
        "ms" => number / 1_000.0,
        "s" => number,
        "m" | "min" => number * 60.0,
        "h" => number * 3_600.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(seconds).ok()
}

fn show_duration(value: Duration) -> String {
    match value.as_secs() {
        0 => format!("{}ms", value.as_millis()),
        seconds if seconds % 3_600 == 0 => format!("{}h", seconds / 3_600),
        seconds if seconds % 60 == 0 => format!("{}m", seconds / 60),
        seconds => format!("{seconds}s"),
    }
}

fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text)?;
    let scale: u32 = match unit {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return None,
    };
    let bytes = number * f64::from(1_u32 << scale);
    (bytes < 1e18).then_some(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(toml: &str) -> Item {
        Item::Value(toml.parse().unwrap())
    }

    #[test]
    fn durations_have_units() {
        let read = |toml| duration(Duration::ZERO..=Duration::from_secs(7_200))(&item(toml));
        assert_eq!(read("\"250ms\"").unwrap(), Duration::from_millis(250));
        assert_eq!(read("\"1.5s\"").unwrap(), Duration::from_millis(1_500));
        assert_eq!(read("\"2h\"").unwrap(), Duration::from_secs(7_200));
        assert!(read("30").unwrap_err().message.contains("found integer"));
        assert!(read("\"30 parsecs\"").unwrap_err().help.unwrap().contains("30s"));
        assert!(read("\"3h\"").unwrap_err().message.contains("outside of 0ms to 2h"));
        assert!(read("\"-3s\"").is_err());
    }

    #[test]
    fn sizes_have_units() {
        let read = |toml| size(0..=1 << 32)(&item(toml));
        assert_eq!(read("4096").unwrap(), 4_096);
        assert_eq!(read("\"1.5MiB\"").unwrap(), 3 << 19);
        assert!(read("-1").is_err());
        assert!(read("\"1MB\"").is_err());
        assert!(read("\"9000000000GiB\"").is_err());
    }

    #[test]
    fn a_list_points_at_its_wrong_element() {
        let document = toml_edit::Document::parse("x = [\"a\", 3]").unwrap();
        let complaint = list(text)(&document["x"]).unwrap_err();
        assert_eq!(complaint.span, Some(10..11));
    }
}
