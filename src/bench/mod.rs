//! Measuring models: whole steps as a person would see them ([`speed`]), a grid of them against the planner
//! ([`grid`]), single kernels against the adapter's bandwidth ([`kernels`]), and loading ([`load`]). Speed is measured here and nowhere in
//! the tests.

pub mod grid;
pub mod kernels;
pub mod load;
pub mod speed;
