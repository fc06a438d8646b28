//! The planner: what a model will cost on an adapter, before it runs. Pure arithmetic: values in, values out.
//!
//! [`form`] is the one cost form; [`fit`] finds a machine's constants in measurements by that form, [`hardware`]
//! names machines whose constants come from data sheets, [`profile`] holds what was measured of an adapter.
//! [`machine`] turns either into the form's constants for one model ([`weights`], [`memory`]); [`table`] prices every
//! quantization × batch, [`choose`] picks by a goal and says why. [`history`] corrects by what runs achieved,
//! [`published`] says what quantizing costs in quality where nobody measured, [`formulas`] are the counts and prices
//! around it. Knows no adapter, file, thread or clock.

pub mod choose;
mod error;
pub mod fit;
pub mod form;
pub mod formulas;
pub mod hardware;
mod hardware_spec;
mod hardware_table;
pub mod history;
pub mod least_squares;
pub mod machine;
pub mod memory;
pub mod profile;
pub mod published;
pub mod table;
pub mod weights;

pub use error::PlanError;
