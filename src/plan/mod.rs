//! The planner: what a model will cost on an adapter, before it runs. Pure arithmetic: values in, values out.

pub mod profile;
pub mod weights;
