//! [`PlanError`]: what the planner cannot make sense of.

/// Why something could not be planned or fitted.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PlanError {
    /// Too few measurements for the constants that are to be fitted.
    #[error("{needed} measured rows or more are needed to fit, found {found}")]
    TooFewRows {
        /// Rows needed.
        needed: usize,
        /// Rows given.
        found: usize,
    },
    /// A measurement that no run can have.
    #[error("measured row {row}: {field} is {value}, expected a positive number")]
    BadRow {
        /// Position of the row, from 0.
        row: usize,
        /// Field of the row.
        field: &'static str,
        /// Its value.
        value: f64,
    },
    /// A count or rate that no model or machine can have.
    #[error("{field} is {value}, expected a positive number")]
    NotPositive {
        /// What it counts.
        field: &'static str,
        /// Its value.
        value: f64,
    },
    /// The fit did not reach finite constants.
    #[error("no constants fit the {rows} measured rows")]
    NoFit {
        /// Rows given.
        rows: usize,
    },
    /// A name that is not in the table of hardware.
    #[error("unknown hardware `{name}`; near it: {}", .nearest.join(", "))]
    UnknownHardware {
        /// Name asked for.
        name: String,
        /// Names of the table nearest to it, best first.
        nearest: Vec<String>,
    },
    /// The number after `*`.
    #[error("hardware `{spec}`: the count after * must be a whole number from 1 to {max}")]
    HardwareCount {
        /// Text given.
        spec: String,
        /// Largest count.
        max: u32,
    },
    /// A key of described hardware that does not exist.
    #[error("hardware: unknown key `{key}`, expected {expected}")]
    HardwareKey {
        /// Key given.
        key: String,
        /// Keys there are.
        expected: String,
    },
    /// A key of described hardware that stands twice.
    #[error("hardware: `{key}` is given twice")]
    HardwareKeyTwice {
        /// The key.
        key: &'static str,
    },
    /// A key that described hardware needs.
    #[error("hardware: `{key}` is missing, e.g. {example}")]
    HardwareKeyMissing {
        /// The key.
        key: &'static str,
        /// How it could read.
        example: &'static str,
    },
    /// A value of described hardware that is no number, has another unit, or is absurd.
    #[error("hardware: {key}={value}: expected {expected}, e.g. {example}")]
    HardwareValue {
        /// The key.
        key: &'static str,
        /// Text given.
        value: String,
        /// What would be accepted.
        expected: String,
        /// How it could read.
        example: &'static str,
    },
    /// A profile lacks what a plan needs.
    #[error("the profile has no reading of {what}: measure the adapter again with `anygpu probe`")]
    Unmeasured {
        /// What is missing.
        what: String,
    },
    /// Nothing to plan for.
    #[error("{what} is empty: there is nothing to plan for")]
    Empty {
        /// Which list.
        what: &'static str,
    },
}
