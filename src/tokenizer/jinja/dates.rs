//! `strftime_now(format)`: Python's `datetime.now().strftime`, as it is on Linux in the C locale.

use minijinja::Error;

use super::refused;

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

/// A moment, taken apart.
#[derive(Clone, Copy)]
struct Moment {
    seconds: i64,
    year: i64,
    /// 1–12.
    month: i64,
    /// 1–31.
    day: i64,
    /// 0 is Sunday.
    weekday: i64,
    /// 0 is the first of January.
    day_of_year: i64,
    hour: i64,
    minute: i64,
    second: i64,
}

impl Moment {
    fn of(seconds: i64) -> Moment {
        let (days, second_of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let (year, month, day) = civil_from_days(days);
        Moment {
            seconds,
            year,
            month,
            day,
            weekday: (days + 4).rem_euclid(7), // 1970-01-01 was a Thursday
            day_of_year: days - days_from_civil(year),
            hour: second_of_day / 3600,
            minute: second_of_day / 60 % 60,
            second: second_of_day % 60,
        }
    }

    /// (year, week) of ISO 8601: weeks begin on Monday and belong to the year of their Thursday.
    fn iso_week(&self) -> (i64, i64) {
        let monday = (self.weekday + 6) % 7;
        let (year, week) = (self.year, (self.day_of_year - monday + 10) / 7);
        match week {
            0 => (year - 1, weeks_of(year - 1)),
            53 if weeks_of(year) == 52 => (year + 1, 1),
            week => (year, week),
        }
    }
}

/// Weeks of an ISO year: 53 when it begins on a Thursday, or is a leap year that begins on a Wednesday.
fn weeks_of(year: i64) -> i64 {
    let first = (days_from_civil(year) + 4).rem_euclid(7);
    let leap = days_from_civil(year + 1) - days_from_civil(year) == 366;
    if first == 4 || (leap && first == 3) { 53 } else { 52 }
}

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

/// The first of January of `year`, in days from 1970-01-01.
fn days_from_civil(year: i64) -> i64 {
    let before = year - 1;
    let leap_days = before.div_euclid(4) - before.div_euclid(100) + before.div_euclid(400);
    before * 365 + leap_days - 719_162 // days from 0001-01-01 to 1970-01-01
}

/// How a number is filled up.
#[derive(Clone, Copy)]
enum Fill {
    Default,
    Nothing,
    Zero,
    Space,
}

/// `now`: seconds since 1970 in the user's time zone. Directives that nobody knows stay as they are.
pub(in crate::tokenizer) fn strftime(now: i64, format: &str) -> Result<String, Error> {
    let moment = Moment::of(now);
    let mut out = String::new();
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let directive = &rest[at + 1..];
        let flags = directive.len() - directive.trim_start_matches(['-', '_', '0', '^', '#']).len();
        let Some(letter) = directive[flags..].chars().next() else {
            out.push_str(&rest[at..]);
            return Ok(out);
        };
        let end = at + 1 + flags + letter.len_utf8();
        let fill = match directive[..flags].chars().rfind(|flag| "-_0".contains(*flag)) {
            Some('-') => Fill::Nothing,
            Some('_') => Fill::Space,
            Some(_) => Fill::Zero,
            None => Fill::Default,
        };
        match moment.directive(letter, fill)? {
            Some(text) if directive[..flags].contains('^') => out.push_str(&text.to_uppercase()),
            Some(text) => out.push_str(&text),
            None => out.push_str(&rest[at..end]),
        }
        rest = &rest[end..];
    }
    Ok(out + rest)
}

impl Moment {
    fn directive(&self, letter: char, fill: Fill) -> Result<Option<String>, Error> {
        let number = |n: i64, width: usize, usual: char| match (fill, usual) {
            (Fill::Nothing, _) => n.to_string(),
            (Fill::Space, _) | (Fill::Default, ' ') => format!("{n:>width$}"),
            _ => format!("{n:0>width$}"),
        };
        let two = |n: i64| number(n, 2, '0');
        let hour12 = (self.hour + 11) % 12 + 1;
        let (day, month) = (DAYS[self.weekday as usize], MONTHS[(self.month - 1) as usize]);
        let noon = if self.hour < 12 { "AM" } else { "PM" };
        let (iso_year, iso_week) = self.iso_week();
        let compound = match letter {
            'c' => "%a %b %e %H:%M:%S %Y",
            'D' | 'x' => "%m/%d/%y",
            'F' => "%Y-%m-%d",
            'R' => "%H:%M",
            'r' => "%I:%M:%S %p",
            'T' | 'X' => "%H:%M:%S",
            _ => "",
        };
        if !compound.is_empty() {
            return strftime(self.seconds, compound).map(Some);
        }
        Ok(Some(match letter {
            'Y' => number(self.year, 1, '0'),
            'C' => two(self.year.div_euclid(100)),
            'y' => two(self.year.rem_euclid(100)),
            'G' => number(iso_year, 1, '0'),
            'g' => two(iso_year.rem_euclid(100)),
            'm' => two(self.month),
            'd' => two(self.day),
            'e' => number(self.day, 2, ' '),
            'H' => two(self.hour),
            'k' => number(self.hour, 2, ' '),
            'I' => two(hour12),
            'l' => number(hour12, 2, ' '),
            'M' => two(self.minute),
            'S' => two(self.second),
            'f' => "000000".to_string(),
            'j' => number(self.day_of_year + 1, 3, '0'),
            'u' => (if self.weekday == 0 { 7 } else { self.weekday }).to_string(),
            'w' => self.weekday.to_string(),
            'U' => two((self.day_of_year + 7 - self.weekday) / 7),
            'W' => two((self.day_of_year + 7 - (self.weekday + 6) % 7) / 7),
            'V' => two(iso_week),
            'p' => noon.to_string(),
            'P' => noon.to_lowercase(),
            'B' => month.to_string(),
            'b' | 'h' => month[..3].to_string(),
            'A' => day.to_string(),
            'a' => day[..3].to_string(),
            's' => self.seconds.to_string(),
            'n' => "\n".to_string(),
            't' => "\t".to_string(),
            // A moment without a time zone has neither its name nor its offset.
            'z' | 'Z' => String::new(),
            '%' => "%".to_string(),
            '\0' => return Err(refused("strftime_now: a format cannot contain NUL")),
            _ => return Ok(None),
        }))
    }
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
    }

    /// Rows: `datetime.fromtimestamp(now, timezone.utc).replace(tzinfo=None).strftime(format)` of
    /// Python 3.11 on Linux.
    #[test]
    fn directives_are_python_s() {
        let all = "%F %T %D %R %j %U %W %V %G %g %u %w %e %k %l %C %h %y %P %x %X|%c|%r|%z%Z|%f";
        for (now, format, want) in [
            (
                1_721_999_045,
                all,
                "2024-07-26 13:04:05 07/26/24 13:04 208 29 30 30 2024 24 5 5 26 13  1 20 Jul 24 pm \
                 07/26/24 13:04:05|Fri Jul 26 13:04:05 2024|01:04:05 PM||000000",
            ),
            (
                1_609_459_200,
                all,
                "2021-01-01 00:00:00 01/01/21 00:00 001 00 00 53 2020 20 5 5  1  0 12 20 Jan 21 am \
                 01/01/21 00:00:00|Fri Jan  1 00:00:00 2021|12:00:00 AM||000000",
            ),
            (1_609_459_200, "%-j %_m %0e %^a %^B %-I", "1  1 01 FRI JANUARY 12"),
            (0, "%Q 100%", "%Q 100%"),
        ] {
            assert_eq!(strftime(now, format).expect("known"), want, "{format}");
        }
    }
}
