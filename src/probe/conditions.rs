//! Circumstances that a number depends on: time, duration, power source.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::plan::profile::Conditions;

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// At the start.
pub(super) fn begin() -> Conditions {
    let begun = now();
    Conditions { unix_time: begun as u64, seconds: begun, power: power(), ..Conditions::default() }
}

/// At the end; `seconds` held the start until now.
pub(super) fn end(conditions: &mut Conditions, drift: f64) {
    conditions.seconds = now() - conditions.seconds;
    conditions.drift = drift;
}

/// `mains` or `battery`, where the operating system tells: Linux, in sysfs.
fn power() -> Option<String> {
    let supplies = std::fs::read_dir("/sys/class/power_supply").ok()?;
    let read = |path: std::path::PathBuf| std::fs::read_to_string(path).ok().map(|s| s.trim().to_owned());
    let mut battery = false;
    for supply in supplies.flatten() {
        match read(supply.path().join("type")).as_deref() {
            Some("Mains" | "USB") if read(supply.path().join("online")).as_deref() == Some("1") => {
                return Some("mains".to_owned());
            }
            Some("Battery") => {
                battery |= read(supply.path().join("status")).as_deref() == Some("Discharging");
            }
            _ => {}
        }
    }
    battery.then(|| "battery".to_owned())
}
