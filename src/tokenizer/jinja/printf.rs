//! Python's `%` of texts: `'%s has %05.1f' % (a, b)`; and of numbers, which the filter stands for, too.

use std::iter::Peekable;
use std::str::Chars;

use minijinja::Error;
use minijinja::value::{Tuple, Value, ValueKind};

use super::filters::integer;
use super::methods::{Side, padded};
use super::{python, refused};

/// Widest field and most digits: far beyond what a prompt needs.
const MAX_WIDTH: usize = 100_000;
const MAX_PRECISION: usize = 400;

/// Where a format's values come from.
pub(super) enum Values {
    Positional(Vec<Value>),
    Named(Value),
}

/// The filter that `a % b` was turned into.
pub(super) fn percent(left: &Value, right: &Value) -> Result<Value, Error> {
    if let Some(text) = left.as_str() {
        let values = match right.downcast_object_ref::<Tuple>() {
            Some(tuple) => Values::Positional(tuple.to_vec()),
            None if right.kind() == ValueKind::Map => Values::Named(right.clone()),
            None => Values::Positional(vec![right.clone()]),
        };
        return format(text, values).map(Value::from);
    }
    let number = |value: &Value| match value.kind() {
        ValueKind::Bool => Value::from(i64::from(value.is_true())),
        _ => value.clone(),
    };
    let (left, right) = (number(left), number(right));
    let zero = || refused("% by zero");
    if let (true, true) = (left.is_integer(), right.is_integer()) {
        let whole = |value: &Value| i128::try_from(value.clone()).map_err(|_| refused("% overflows"));
        let (a, b) = (whole(&left)?, whole(&right)?);
        let rest = a.checked_rem(b).ok_or_else(zero)?;
        let wrong_sign = rest != 0 && (rest < 0) != (b < 0);
        return Ok(integer(if wrong_sign { rest + b } else { rest }));
    }
    match (f64::try_from(left.clone()), f64::try_from(right.clone())) {
        (Ok(a), Ok(b)) if left.is_number() && right.is_number() => {
            let rest = a % b;
            if b == 0.0 {
                return Err(zero());
            }
            Ok(Value::from(if rest != 0.0 && (rest < 0.0) != (b < 0.0) { rest + b } else { rest }))
        }
        _ => Err(refused(format!("% of {} and {}", left.kind(), right.kind()))),
    }
}

/// Flags, width and precision of one `%…`.
#[derive(Default)]
struct Spec {
    left: bool,
    plus: bool,
    space: bool,
    zero: bool,
    alternate: bool,
    width: usize,
    precision: Option<usize>,
}

/// Values as they are taken, one after the other.
struct Source {
    values: Values,
    next: usize,
}

impl Source {
    fn take(&mut self) -> Result<Value, Error> {
        let value = match &self.values {
            Values::Positional(values) => values.get(self.next).cloned(),
            // A dict is one value when no name is asked for.
            Values::Named(map) => (self.next == 0).then(|| map.clone()),
        };
        self.next += 1;
        value.ok_or_else(|| refused("not enough arguments for format string"))
    }

    fn named(&self, name: &str) -> Result<Value, Error> {
        let Values::Named(map) = &self.values else { return Err(refused("format requires a mapping")) };
        let value = map.get_item(&Value::from(name))?;
        if value.is_undefined() { Err(refused(format!("format: no value `{name}`"))) } else { Ok(value) }
    }
}

/// `text` with every `%…` replaced.
pub(super) fn format(text: &str, values: Values) -> Result<String, Error> {
    let mut source = Source { values, next: 0 };
    let mut chars = text.chars().peekable();
    let mut out = String::new();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let name =
            chars.next_if_eq(&'(').map(|_| chars.by_ref().take_while(|c| *c != ')').collect::<String>());
        let spec = spec(&mut chars, &mut source)?;
        while chars.next_if(|c| matches!(c, 'h' | 'l' | 'L')).is_some() {}
        let conversion = chars.next().ok_or_else(|| refused("incomplete format"))?;
        if conversion == '%' {
            out.push('%');
            continue;
        }
        let value = match name {
            Some(name) => source.named(&name)?,
            None => source.take()?,
        };
        out.push_str(&spec.convert(conversion, &value)?);
    }
    match &source.values {
        Values::Positional(values) if source.next < values.len() => {
            Err(refused("not all arguments converted during string formatting"))
        }
        _ => Ok(out),
    }
}

fn spec(chars: &mut Peekable<Chars<'_>>, source: &mut Source) -> Result<Spec, Error> {
    let mut spec = Spec::default();
    while let Some(flag) = chars.next_if(|c| matches!(c, '-' | '+' | ' ' | '0' | '#')) {
        match flag {
            '-' => spec.left = true,
            '+' => spec.plus = true,
            ' ' => spec.space = true,
            '0' => spec.zero = true,
            _ => spec.alternate = true,
        }
    }
    if let Some(width) = count(chars, source)? {
        spec.left |= width < 0;
        spec.width = limited(width.unsigned_abs() as usize, MAX_WIDTH)?;
    }
    if chars.next_if_eq(&'.').is_some() {
        let precision = count(chars, source)?.unwrap_or(0).max(0);
        spec.precision = Some(limited(precision as usize, MAX_WIDTH)?);
    }
    Ok(spec)
}

fn limited(number: usize, most: usize) -> Result<usize, Error> {
    if number > most { Err(refused("format: width or precision too big")) } else { Ok(number) }
}

/// Digits, or `*` for the next value.
fn count(chars: &mut Peekable<Chars<'_>>, source: &mut Source) -> Result<Option<i64>, Error> {
    if chars.next_if_eq(&'*').is_some() {
        let value = source.take()?;
        return i64::try_from(value).map(Some).map_err(|_| refused("* wants int"));
    }
    let mut number = None;
    while let Some(digit) = chars.next_if(char::is_ascii_digit) {
        let digit = i64::from(u32::from(digit) - u32::from('0'));
        number = Some(number.unwrap_or(0i64).saturating_mul(10).saturating_add(digit));
    }
    Ok(number)
}

impl Spec {
    fn convert(&self, conversion: char, value: &Value) -> Result<String, Error> {
        match conversion {
            's' => self.text(&python::text(value)?),
            'r' => self.text(&python::repr(value)?),
            'a' => self.text(&ascii(&python::repr(value)?)),
            'c' => self.text(&character(value)?),
            'd' | 'i' | 'u' | 'x' | 'X' | 'o' => self.whole(conversion, value),
            'e' | 'E' | 'f' | 'F' | 'g' | 'G' => self.float(conversion, value),
            other => Err(refused(format!("unsupported format character '{other}'"))),
        }
    }

    fn text(&self, text: &str) -> Result<String, Error> {
        let cut: String = match self.precision {
            Some(most) => text.chars().take(most).collect(),
            None => text.to_string(),
        };
        padded(&cut, self.width, ' ', if self.left { Side::Right } else { Side::Left })
    }

    fn whole(&self, conversion: char, value: &Value) -> Result<String, Error> {
        let wrong =
            || refused(format!("%{conversion} format: a real number is required, not {}", value.kind()));
        let number = match value.kind() {
            ValueKind::Bool => i128::from(value.is_true()),
            ValueKind::Number if value.is_integer() => i128::try_from(value.clone()).map_err(|_| wrong())?,
            ValueKind::Number if matches!(conversion, 'd' | 'i' | 'u') => {
                let float = f64::try_from(value.clone()).map_err(|_| wrong())?;
                if !float.is_finite() || float.abs() >= 1e38 {
                    return Err(wrong());
                }
                float as i128
            }
            _ => return Err(wrong()),
        };
        let size = number.unsigned_abs();
        let (prefix, mut digits) = match conversion {
            'x' => ("0x", format!("{size:x}")),
            'X' => ("0X", format!("{size:X}")),
            'o' => ("0o", format!("{size:o}")),
            _ => ("", size.to_string()),
        };
        let least = self.precision.unwrap_or(0);
        if digits.len() < least {
            digits.insert_str(0, &"0".repeat(least - digits.len()));
        }
        self.signed(number < 0, if self.alternate { prefix } else { "" }, &digits)
    }

    fn float(&self, conversion: char, value: &Value) -> Result<String, Error> {
        let number = match value.kind() {
            ValueKind::Bool => Some(f64::from(u8::from(value.is_true()))),
            ValueKind::Number => f64::try_from(value.clone()).ok(),
            _ => None,
        };
        let number = number.ok_or_else(|| refused(format!("must be real number, not {}", value.kind())))?;
        let precision = limited(self.precision.unwrap_or(6), MAX_PRECISION)?;
        let size = number.abs();
        let digits = if !size.is_finite() {
            python::float(size)
        } else {
            match conversion.to_ascii_lowercase() {
                'f' => format!("{size:.precision$}"),
                'e' => exponential(size, precision),
                _ => general(size, precision.max(1), self.alternate),
            }
        };
        let digits = if conversion.is_uppercase() { digits.to_uppercase() } else { digits };
        self.signed(number.is_sign_negative() && !number.is_nan(), "", &digits)
    }

    fn signed(&self, negative: bool, prefix: &str, digits: &str) -> Result<String, Error> {
        let sign = match (negative, self.plus, self.space) {
            (true, ..) => "-",
            (_, true, _) => "+",
            (_, _, true) => " ",
            _ => "",
        };
        let front = format!("{sign}{prefix}");
        if self.zero && !self.left {
            let room = self.width.saturating_sub(front.len());
            return Ok(front + &padded(digits, room, '0', Side::Left)?);
        }
        padded(&(front + digits), self.width, ' ', if self.left { Side::Right } else { Side::Left })
    }
}

/// C's `%e`: at least two digits of exponent.
fn exponential(size: f64, precision: usize) -> String {
    let text = format!("{size:.precision$e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    format!("{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

/// C's `%g`: the shorter of `%e` and `%f`, without zeros at the end.
fn general(size: f64, precision: usize, keep_zeros: bool) -> String {
    let rounded = exponential(size, precision - 1);
    let (digits, exponent) = rounded.split_once('e').unwrap_or((&rounded, "0"));
    let exponent: i64 = exponent.parse().unwrap_or(0);
    let trimmed = |text: &str| match text.contains('.') && !keep_zeros {
        true => text.trim_end_matches('0').trim_end_matches('.').to_string(),
        false => text.to_string(),
    };
    if exponent < -4 || exponent >= precision as i64 {
        return format!("{}e{}", trimmed(digits), &rounded[digits.len() + 1..]);
    }
    let decimals = (precision as i64 - 1 - exponent).max(0) as usize;
    trimmed(&format!("{size:.decimals$}"))
}

fn ascii(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match u32::from(c) {
            0..0x80 => out.push(c),
            code @ 0x80..0x100 => out.push_str(&format!("\\x{code:02x}")),
            code @ 0x100..0x10000 => out.push_str(&format!("\\u{code:04x}")),
            code => out.push_str(&format!("\\U{code:08x}")),
        }
    }
    out
}

fn character(value: &Value) -> Result<String, Error> {
    let code = || u32::try_from(value.clone()).ok().and_then(char::from_u32).map(String::from);
    let one = value.as_str().filter(|text| text.chars().count() == 1).map(str::to_string);
    one.or_else(code).ok_or_else(|| refused("%c requires an int or a unicode character"))
}
