//! How matrices read activations.

/// How the matrices of a decoding step read activations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Activations {
    /// As they are, in f32.
    #[default]
    F32,
    /// Rounded: 32 consecutive ones become signed bytes that share a scale. Only where that was measured to be faster;
    /// elsewhere as they are.
    Int8,
}

impl Activations {
    /// Both ways.
    pub const ALL: [Activations; 2] = [Activations::F32, Activations::Int8];

    /// `f32` or `int8`.
    pub fn name(self) -> &'static str {
        match self {
            Activations::F32 => "f32",
            Activations::Int8 => "int8",
        }
    }

    /// The way of this name.
    pub fn from_name(name: &str) -> Option<Activations> {
        Activations::ALL.into_iter().find(|activations| activations.name() == name)
    }
}
