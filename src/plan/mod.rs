//! The planner: what a model will cost on an adapter, before it runs. Pure arithmetic: values in, values out.
//!
//! [`form`] is the one cost form; [`fit`] finds a machine's constants in measurements by that form, [`hardware`]
//! names machines whose constants come from data sheets, [`formulas`] are the counts and prices around it.
//! Knows no adapter, file, thread or clock.

mod error;
pub mod fit;
pub mod form;
pub mod formulas;
pub mod hardware;
mod hardware_spec;
mod hardware_table;
pub mod least_squares;

pub use error::PlanError;
