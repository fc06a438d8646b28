//! ggml's tensor types beyond those that [`DType`] decodes, known by name for messages.

use crate::base::DType;

/// (ggml type id, name): types that exist or existed (ggml's `enum ggml_type`), none of them decoded here.
const UNDECODABLE: [(u32, &str); 25] = [
    (4, "Q4_2, removed in 2023"),
    (5, "Q4_3, removed in 2023"),
    (9, "Q8_1"),
    (15, "Q8_K"),
    (16, "IQ2_XXS"),
    (17, "IQ2_XS"),
    (18, "IQ3_XXS"),
    (19, "IQ1_S"),
    (21, "IQ3_S"),
    (22, "IQ2_S"),
    (24, "I8"),
    (25, "I16"),
    (26, "I32"),
    (27, "I64"),
    (28, "F64"),
    (29, "IQ1_M"),
    (31, "Q4_0_4_4, removed in 2024"),
    (32, "Q4_0_4_8, removed in 2024"),
    (33, "Q4_0_8_8, removed in 2024"),
    (34, "TQ1_0"),
    (35, "TQ2_0"),
    (36, "IQ4_NL_4_4, removed in 2024"),
    (37, "IQ4_NL_4_8, removed in 2024"),
    (38, "IQ4_NL_8_8, removed in 2024"),
    (40, "NVFP4"),
];

/// The name of a type that exists but cannot be decoded here.
pub(super) fn undecodable(type_id: u32) -> Option<&'static str> {
    UNDECODABLE.iter().find(|row| row.0 == type_id).map(|row| row.1)
}

/// The names of all types that can be decoded.
pub(crate) fn supported() -> String {
    DType::all().map(|dtype| dtype.name().to_uppercase()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_type_is_both_decodable_and_not() {
        for (id, name) in UNDECODABLE {
            assert_eq!(DType::from_ggml_id(id), None, "{name}");
        }
        // Every id up to the newest is known one way or the other.
        for id in 0..=40 {
            assert!(DType::from_ggml_id(id).is_some() || undecodable(id).is_some(), "id {id}");
        }
    }
}
