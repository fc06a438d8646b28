//! Functions that chat templates expect beside Jinja's own.

use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Error, ErrorKind};

/// `raise_exception(text)`: the template refuses the conversation.
pub(super) fn raise_exception(text: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, text))
}

/// `value | tojson(indent=n)` as Python's `json.dumps(value, ensure_ascii=False)` writes it: a space
/// after `,` and `:`, no HTML escapes.
pub(super) fn tojson(value: Value, options: Kwargs) -> Result<Value, Error> {
    let indent = options.get::<Option<usize>>("indent")?;
    let mut text = String::new();
    write_json(&value, indent, 0, &mut text)?;
    Ok(Value::from_safe_string(text))
}

fn write_json(value: &Value, indent: Option<usize>, depth: usize, out: &mut String) -> Result<(), Error> {
    match value.kind() {
        ValueKind::Undefined | ValueKind::None => out.push_str("null"),
        ValueKind::String => out.push_str(&quote(value.as_str().unwrap_or_default())),
        ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number => out.push_str(&value.to_string()),
        ValueKind::Seq | ValueKind::Iterable => {
            let items: Vec<Value> = value.try_iter()?.collect();
            write_group(('[', ']'), items.len(), indent, depth, out, |ix, out| {
                write_json(&items[ix], indent, depth + 1, out)
            })?;
        }
        ValueKind::Map => {
            let keys: Vec<Value> = value.try_iter()?.collect();
            write_group(('{', '}'), keys.len(), indent, depth, out, |ix, out| {
                out.push_str(&quote(&keys[ix].to_string()));
                out.push_str(": ");
                write_json(&value.get_item(&keys[ix])?, indent, depth + 1, out)
            })?;
        }
        kind => {
            let text = format!("tojson: a {kind} has no JSON form");
            return Err(Error::new(ErrorKind::InvalidOperation, text));
        }
    }
    Ok(())
}

/// Brackets, commas and line breaks around `count` items.
fn write_group(
    brackets: (char, char),
    count: usize,
    indent: Option<usize>,
    depth: usize,
    out: &mut String,
    mut item: impl FnMut(usize, &mut String) -> Result<(), Error>,
) -> Result<(), Error> {
    let line = |out: &mut String, depth: usize| {
        if let Some(width) = indent.filter(|_| count > 0) {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', width * depth));
        }
    };
    out.push(brackets.0);
    for ix in 0..count {
        if ix > 0 {
            out.push_str(if indent.is_some() { "," } else { ", " });
        }
        line(out, depth + 1);
        item(ix, out)?;
    }
    line(out, depth);
    out.push(brackets.1);
    Ok(())
}

/// A JSON string with only the escapes JSON demands.
fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// (year, month 1–12, day 1–31) of a day counted from 1970-01-01, proleptic Gregorian
/// (H. Hinnant, "chrono-Compatible Low-Level Date Algorithms": years begin in March, eras have
/// 400 years = 146 097 days).
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    const DAYS_PER_ERA: i64 = 146_097;
    let shifted = days + 719_468; // days from 0000-03-01 to 1970-01-01
    let (era, day_of_era) = (shifted.div_euclid(DAYS_PER_ERA), shifted.rem_euclid(DAYS_PER_ERA));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// C's `strftime` for the directives that chat templates use; `now`: seconds since 1970.
pub(super) fn strftime(now: i64, format: &str) -> Result<String, Error> {
    let (days, second_of_day) = (now.div_euclid(86_400), now.rem_euclid(86_400));
    let (year, month, day) = civil_from_days(days);
    let weekday = DAYS[(days + 4).rem_euclid(7) as usize]; // 1970-01-01 was a Thursday
    let month_name = MONTHS[(month - 1) as usize];
    let (hour, minute, second) = (second_of_day / 3600, second_of_day / 60 % 60, second_of_day % 60);
    let hour12 = (hour + 11) % 12 + 1;
    let mut out = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut directive = chars.next();
        let unpadded = directive == Some('-');
        if unpadded {
            directive = chars.next();
        }
        let number = |n: i64| if unpadded { n.to_string() } else { format!("{n:02}") };
        out += &match directive {
            Some('Y') => year.to_string(),
            Some('y') => number(year.rem_euclid(100)),
            Some('m') => number(month),
            Some('d') => number(day),
            Some('H') => number(hour),
            Some('I') => number(hour12),
            Some('M') => number(minute),
            Some('S') => number(second),
            Some('p') => if hour < 12 { "AM" } else { "PM" }.to_string(),
            Some('B') => month_name.to_string(),
            Some('b') => month_name[..3].to_string(),
            Some('A') => weekday.to_string(),
            Some('a') => weekday[..3].to_string(),
            Some('%') => "%".to_string(),
            other => {
                let text = format!("strftime_now: directive %{} is not supported", other.unwrap_or(' '));
                return Err(Error::new(ErrorKind::InvalidOperation, text));
            }
        };
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_match_the_calendar() {
        for (now, want) in [
            (0, "1970-01-01 Thu Thursday 00:00:00"),
            (951_782_400, "2000-02-29 Tue Tuesday 00:00:00"),
            (1_735_689_599, "2024-12-31 Tue Tuesday 23:59:59"),
            (-1, "1969-12-31 Wed Wednesday 23:59:59"),
            (4_107_542_400, "2100-03-01 Mon Monday 00:00:00"),
        ] {
            assert_eq!(strftime(now, "%Y-%m-%d %a %A %H:%M:%S").expect("known"), want);
        }
        assert_eq!(strftime(0, "%-d %B '%y, %I %p %%").expect("known"), "1 January '70, 12 AM %");
        assert!(strftime(0, "%Q").is_err());
        assert!(strftime(0, "%").is_err());
    }

    #[test]
    fn json_is_python_s() {
        let text = |value: Value, indent: Option<usize>| {
            let mut out = String::new();
            write_json(&value, indent, 0, &mut out).expect("has a JSON form");
            out
        };
        let value = Value::from_pairs([("a\n", Value::from("<'\">")), ("é", Value::from(vec![1, 2]))]);
        assert_eq!(text(value.clone(), None), "{\"a\\n\": \"<'\\\">\", \"é\": [1, 2]}");
        assert_eq!(text(value, Some(2)), "{\n  \"a\\n\": \"<'\\\">\",\n  \"é\": [\n    1,\n    2\n  ]\n}");
        assert_eq!(text(Value::from(Vec::<i32>::new()), Some(2)), "[]");
    }
}
